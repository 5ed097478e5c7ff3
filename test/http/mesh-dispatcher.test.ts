import type { Dispatcher } from "undici";
import { describe, expect, it } from "vitest";
import { createMesh, type Discovery, type Mesh } from "../../src/index.js";
import { ManualClock } from "../support/manual-clock.js";

/** A discovery that knows nothing yet: calls wait for their view. */
const silent: Discovery = {
  name: "silent",
  attach() {},
  watch: () => ({ touch() {}, refresh() {}, close() {} }),
  knows: async () => false,
  localCluster: () => undefined,
  close: async () => {},
};

function waiting(): { mesh: Mesh; clock: ManualClock; errors: unknown[]; dispatch: (path?: string) => () => void } {
  const clock = new ManualClock();
  const mesh = createMesh({ clock, discovery: silent, services: { "a.b": {} } });
  const errors: unknown[] = [];
  const dispatch = (path = "/"): (() => void) => {
    let abort: () => void = () => undefined;
    const handler = {
      onConnect: (given: () => void) => {
        abort = given;
      },
      onHeaders: () => true,
      onData: () => true,
      onComplete: () => undefined,
      onError: (error: unknown) => errors.push(error),
    };
    const options = { origin: "http://a.b", path, method: "GET" } as Dispatcher.DispatchOptions;
    mesh.dispatcher.dispatch(options, handler as unknown as Dispatcher.DispatchHandler);
    return () => abort();
  };
  return { mesh, clock, errors, dispatch };
}

describe("closing the dispatcher", () => {
  it("waits for the calls under way, whoever closes it and however often", async () => {
    const { mesh, dispatch, errors } = waiting();
    const abort = dispatch();
    const closed: string[] = [];
    void mesh.dispatcher.close().then(() => closed.push("first"));
    void mesh.dispatcher.close().then(() => closed.push("second"));
    mesh.dispatcher.close(() => closed.push("callback"));
    void mesh.close().then(() => closed.push("mesh"));
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toEqual([]);
    abort();
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed.sort()).toEqual(["callback", "first", "mesh", "second"]);
    expect(errors).toMatchObject([{ code: "UND_ERR_ABORTED" }]);
  });

  it("refuses new calls with the typed error", () => {
    const { mesh, dispatch, errors } = waiting();
    void mesh.dispatcher.close();
    dispatch();
    expect(errors).toMatchObject([{ code: "ERR_ONEHOP_CLOSED" }]);
  });

  it("destroy ends every call at once, with the reason given, and leaves no timer", async () => {
    const { mesh, clock, dispatch, errors } = waiting();
    dispatch();
    dispatch();
    const reason = new Error("shutdown");
    await mesh.dispatcher.destroy(reason);
    expect(errors).toEqual([reason, reason]);
    expect(clock.foregroundTimerCount).toBe(0);
  });

  it("a caller that throws while it is told of its means to abort gets its own error", () => {
    const { mesh } = waiting();
    const own = new Error("broken handler");
    const errors: unknown[] = [];
    const handler = {
      onConnect: () => {
        throw own;
      },
      onError: (error: unknown) => errors.push(error),
    };
    const options = { origin: "http://a.b", path: "/", method: "GET" } as Dispatcher.DispatchOptions;
    mesh.dispatcher.dispatch(options, handler as unknown as Dispatcher.DispatchHandler);
    expect(errors).toEqual([own]);
  });
});
