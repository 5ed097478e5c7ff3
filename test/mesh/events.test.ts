import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { staticDiscovery } from "../../src/discovery/static-discovery.js";
import { createMesh } from "../../src/index.js";
import { MeshEventEmitter } from "../../src/mesh-event-emitter.js";
import { MESH_EVENT_TYPES, type MeshEvent } from "../../src/model/event.js";

const retry: MeshEvent = { type: "retry-suppressed", service: "a.b", attempt: 1, reason: "budget" };
const warning = (message: string): MeshEvent => ({ type: "warning", message });

let warnings: string[];
beforeEach(() => {
  warnings = [];
  vi.spyOn(process, "emitWarning").mockImplementation((text) => void warnings.push(String(text)));
});
afterEach(() => {
  vi.restoreAllMocks();
});

describe("events", () => {
  it("come to the listeners of their type, in the order they came", () => {
    const events = new MeshEventEmitter();
    const told: unknown[] = [];
    events.on("retry-suppressed", (event) => told.push(["first", event.reason]));
    events.on("retry-suppressed", (event) => told.push(["second", event.attempt]));
    events.on("retry", () => told.push("never"));
    events.emit(retry);
    expect(told).toEqual([
      ["first", "budget"],
      ["second", 1],
    ]);
  });

  it("come once to who wants them once, and no more to who has left", () => {
    const events = new MeshEventEmitter();
    const told: string[] = [];
    const always = (): void => void told.push("always");
    const once = (): void => void told.push("once");
    events.on("retry-suppressed", always);
    events.once("retry-suppressed", once);
    events.emit(retry);
    events.emit(retry);
    events.off("retry-suppressed", always);
    events.emit(retry);
    expect(told).toEqual(["always", "once", "always"]);
    const gone = (): void => void told.push("gone");
    events.once("retry-suppressed", gone);
    events.off("retry-suppressed", gone);
    events.emit(retry);
    expect(told).toHaveLength(3);
  });

  it("of nobody's interest are no error", () => {
    expect(() => new MeshEventEmitter().emit(retry)).not.toThrow();
  });
});

describe("a listener that fails", () => {
  it.each([
    [
      "throws an error",
      () => {
        throw new Error("broken");
      },
    ],
    [
      "throws a text",
      () => {
        throw "broken";
      },
    ],
    [
      "rejects",
      async () => {
        throw new Error("broken");
      },
    ],
  ])("%s: harms nobody, and is told by a process warning", async (_, fails: () => unknown) => {
    const events = new MeshEventEmitter();
    const told: string[] = [];
    events.on("retry-suppressed", () => void told.push("before"));
    events.on("retry-suppressed", fails as () => void);
    events.once("retry-suppressed", fails as () => void);
    events.on("retry-suppressed", () => void told.push("after"));
    expect(() => events.emit(retry)).not.toThrow();
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toEqual(["before", "after"]);
    expect(warnings).toEqual(Array(2).fill(`a listener of onehop's "retry-suppressed" event threw: broken`));
  });

  it("does not stop a view from being adopted", async () => {
    const mesh = createMesh({
      services: { "a.b": {} },
      discovery: staticDiscovery({ services: { "a.b": ["10.0.0.1"] } }),
    });
    mesh.on("endpoints", () => {
      throw new Error("broken");
    });
    await mesh.ready();
    expect((await mesh.service("a.b").endpoints()).map(({ address }) => address)).toEqual(["10.0.0.1"]);
    expect(warnings).toHaveLength(1);
    await mesh.close();
  });
});

describe("a warning", () => {
  it("is told once for each text", () => {
    const events = new MeshEventEmitter();
    const told: string[] = [];
    events.on("warning", ({ message }) => told.push(message));
    for (let round = 0; round < 3; round += 1) for (const text of ["a", "b"]) events.emit(warning(text));
    expect(told).toEqual(["a", "b"]);
  });

  it("takes bounded memory", () => {
    const events = new MeshEventEmitter();
    const told: string[] = [];
    events.on("warning", ({ message }) => told.push(message));
    for (let text = 0; text < 1_500; text += 1) events.emit(warning(String(text)));
    events.emit(warning("1499"));
    expect(told).toHaveLength(1_500);
    events.emit(warning("0"));
    expect(told).toHaveLength(1_501);
  });
});

describe("mesh.on, once and off", () => {
  const mesh = createMesh({ discovery: staticDiscovery({ services: {} }) });
  const listener = (): void => undefined;

  it.each(["on", "once", "off"] as const)("%s: takes the events there are and refuses others", (method) => {
    const call = (type: unknown, given: unknown = listener) => mesh[method](type as never, given as never);
    for (const type of MESH_EVENT_TYPES) expect(call(type)).toBe(mesh);
    const unknown: readonly [type: unknown, problem: string][] = [
      ["retrys", 'unknown event "retrys"; did you mean "retry"?'],
      ["Endpoints", 'unknown event "Endpoints"; did you mean "endpoints"?'],
      ["zzzzzzzz", 'unknown event "zzzzzzzz" (known: discovery, endpoints, doubt, '],
      ["toString", 'unknown event "toString"'],
      ["newListener", 'unknown event "newListener"'],
      [undefined, "unknown event undefined"],
      [Symbol("retry"), "unknown event Symbol(retry)"],
    ];
    for (const [type, problem] of unknown) {
      expect(() => call(type)).toThrow(
        expect.objectContaining({ code: "ERR_ONEHOP_CONFIG", message: expect.stringContaining(problem) }),
      );
    }
    for (const [given, shown] of [
      [null, "null"],
      [{ handleEvent() {} }, "{}"],
    ]) {
      expect(() => call("retry", given)).toThrow(
        expect.objectContaining({
          code: "ERR_ONEHOP_CONFIG",
          message: `the listener of the event "retry": expected a function, got ${shown}`,
        }),
      );
    }
  });

  it("give back the mesh, and mesh.explain tells the state the events told", async () => {
    const mesh = createMesh({
      services: { "a.b": {} },
      discovery: staticDiscovery({ services: { "a.b": ["10.0.0.1", { address: "10.0.0.2", state: "terminating" }] } }),
    });
    const states: string[] = [];
    const listener = (): void => void states.push("never");
    const same = mesh
      .on("discovery", ({ state }) => states.push(state))
      .once("discovery", listener)
      .off("discovery", listener);
    expect(same).toBe(mesh);
    await mesh.ready();
    expect(states).toEqual(["endpoints"]);
    const explanation = await mesh.service("a.b").explain();
    expect(explanation).toMatchObject({
      service: "a.b",
      port: 80,
      state: "endpoints",
      source: "static",
      generation: 1,
    });
    expect(
      explanation.endpoints.map(({ address, eligible, tier, reason }) => [address, eligible, tier, reason]),
    ).toEqual([
      ["10.0.0.1", true, 0, "active, in the nearest tier"],
      ["10.0.0.2", false, undefined, "terminating: gets no new calls"],
    ]);
    await mesh.close();
  });
});
