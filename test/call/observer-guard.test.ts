import { describe, expect, it } from "vitest";
import type { AttemptScope, AttemptStart } from "../../src/call/observer.js";
import { guardObserver } from "../../src/call/observer-guard.js";
import type { AttemptRecord } from "../../src/errors.js";
import type { MeshEvent } from "../../src/model/event.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const start: AttemptStart = { service: "a.b", port: 80, method: "GET", number: 1, endpoint: makeEndpoint(1) };
const record: AttemptRecord = {
  number: 1,
  endpoint: "10.0.0.1:8080",
  cluster: undefined,
  outcome: "response",
  status: 200,
  error: undefined,
  durationMs: 1,
};

function guarded(scope: () => AttemptScope | undefined): { scope: AttemptScope | undefined; warnings: string[] } {
  const warnings: string[] = [];
  const notify = (event: MeshEvent): void => {
    if (event.type === "warning") warnings.push(event.message);
  };
  return { scope: guardObserver({ attemptStarted: scope }, notify).attemptStarted(start), warnings };
}

const failing = (what: string) => (): never => {
  throw new Error(what);
};

describe("guardObserver", () => {
  it("hands everything through, and leaves absent what is absent", () => {
    const seen: unknown[] = [];
    const whole = guarded(() => ({
      headers: { traceparent: "00-1" },
      run: (dispatch) => dispatch(),
      callback: (deliver) => deliver(),
      settled: (settled) => seen.push(settled),
    }));
    whole.scope?.run?.(() => seen.push("run"));
    whole.scope?.callback?.(() => seen.push("callback"));
    whole.scope?.settled?.(record);
    expect(seen).toEqual(["run", "callback", record]);
    expect(whole.scope?.headers).toEqual({ traceparent: "00-1" });
    expect(guarded(() => ({})).scope).toEqual({});
    expect(guarded(() => undefined).scope).toBeUndefined();
  });

  it("goes on without an observer that throws, and tells it", () => {
    const { scope, warnings } = guarded(failing("broken"));
    expect(scope).toBeUndefined();
    expect(warnings).toEqual(["the attempt observer's attemptStarted threw: broken"]);
  });

  it.each(["run", "callback"] as const)("does the step once, whatever %s does", (part) => {
    const behaviours: Record<string, (step: () => void) => void> = {
      "throws before it": failing("before"),
      "throws after it": (step) => {
        step();
        throw new Error("after");
      },
      "forgets it": () => undefined,
      "does it twice": (step) => {
        step();
        step();
      },
    };
    for (const [name, behaviour] of Object.entries(behaviours)) {
      let steps = 0;
      const { scope, warnings } = guarded(() => ({ [part]: behaviour }));
      scope?.[part]?.(() => {
        steps += 1;
      });
      expect([name, steps, warnings.length]).toEqual([name, 1, name.startsWith("throws") ? 1 : 0]);
    }
  });

  it("lets what the step itself throws through, unchanged", () => {
    const own = new Error("the caller's own");
    const { scope, warnings } = guarded(() => ({ callback: (deliver) => deliver() }));
    expect(() =>
      scope?.callback?.(() => {
        throw own;
      }),
    ).toThrow(own);
    expect(warnings).toEqual([]);
  });

  it("survives a settled that throws", () => {
    const { scope, warnings } = guarded(() => ({ settled: failing("late") }));
    scope?.settled?.(record);
    expect(warnings).toEqual(["the attempt observer's settled threw: late"]);
  });

  it("tells also what is thrown and is no error", () => {
    const { warnings } = guarded(() => {
      throw "a word";
    });
    expect(warnings).toEqual(["the attempt observer's attemptStarted threw: a word"]);
  });
});
