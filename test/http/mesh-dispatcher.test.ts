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

/** A mesh whose hosts `x.y` are decided when the test says so. */
function undecided(): {
  readonly mesh: Mesh;
  readonly clock: ManualClock;
  readonly settle: (known: boolean) => Promise<void>;
  readonly call: (timeoutMs?: number) => { readonly seen: string[]; abort(reason: Error): void };
} {
  const clock = new ManualClock();
  const waiting: ((known: boolean) => void)[] = [];
  const discovery: Discovery = {
    ...silent,
    knows: () =>
      new Promise((resolve) => {
        waiting.push(resolve);
      }),
  };
  const mesh = createMesh({ clock, discovery, defaults: { timeoutMs: 5_000 } });
  const settle = async (known: boolean): Promise<void> => {
    for (const resolve of waiting.splice(0)) resolve(known);
    await new Promise((resolve) => setImmediate(resolve));
  };
  const call = (timeoutMs?: number): { seen: string[]; abort(reason: Error): void } => {
    const seen: string[] = [];
    let abort: (reason: Error) => void = () => undefined;
    const handler = {
      onConnect: (given: (reason: Error) => void) => {
        seen.push("connect");
        abort = given;
      },
      onHeaders: () => true,
      onData: () => true,
      onComplete: () => seen.push("complete"),
      onError: (error: { code?: string; message: string }) => seen.push(`error ${error.code ?? error.message}`),
    };
    const options = { origin: "http://x.y", path: "/", method: "GET" } as Dispatcher.DispatchOptions;
    const extras = timeoutMs === undefined ? {} : { onehop: { timeoutMs } };
    mesh.dispatcher.dispatch({ ...options, ...extras }, handler as unknown as Dispatcher.DispatchHandler);
    return { seen, abort: (reason) => abort(reason) };
  };
  return { mesh, clock, settle, call };
}

describe("a host that is being looked up", () => {
  it("is looked up within the call's deadline", async () => {
    const { clock, call } = undecided();
    const own = call(300);
    const usual = call();
    await clock.advanceAsync(299);
    expect(own.seen).toEqual(["connect"]);
    await clock.advanceAsync(1);
    expect(own.seen).toEqual(["connect", "error ERR_ONEHOP_DEADLINE"]);
    await clock.advanceAsync(4_699);
    expect(usual.seen).toEqual(["connect"]);
    await clock.advanceAsync(1);
    expect(usual.seen).toEqual(["connect", "error ERR_ONEHOP_DEADLINE"]);
    expect(clock.foregroundTimerCount).toBe(0);
  });

  it("leaves the rest of the deadline to the call", async () => {
    const { clock, call, settle } = undecided();
    const { seen } = call(300);
    await clock.advanceAsync(200);
    await settle(true);
    await clock.advanceAsync(99);
    expect(seen).toEqual(["connect"]);
    await clock.advanceAsync(1);
    expect(seen).toEqual(["connect", "error ERR_ONEHOP_DEADLINE"]);
  });

  it("gives its caller one means to abort, which works before and after the decision", async () => {
    const { call, settle } = undecided();
    const early = call();
    early.abort(new Error("early"));
    early.abort(new Error("again"));
    const late = call();
    await settle(true);
    late.abort(new Error("late"));
    expect(early.seen).toEqual(["connect", "error early"]);
    expect(late.seen).toEqual(["connect", "error late"]);
  });

  it("T-61: closing waits for it, and destroying ends it", async () => {
    const { mesh, call, settle } = undecided();
    const { seen } = call();
    let isClosed = false;
    void mesh.dispatcher.close().then(() => {
      isClosed = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(false);
    await mesh.dispatcher.destroy();
    await new Promise((resolve) => setImmediate(resolve));
    expect(isClosed).toBe(true);
    expect(seen).toEqual(["connect", "error ERR_ONEHOP_CLOSED"]);
    await settle(false);
    expect(call().seen, "nothing is sent any more, to foreign hosts neither").toEqual(["error ERR_ONEHOP_CLOSED"]);
  });
});
