import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Attempt } from "../../src/call/attempt.js";
import type { Call } from "../../src/call/call.js";
import { retryConcurrencyLimit } from "../../src/policy/retry-concurrency.js";
import { seededRandom } from "../../src/random.js";
import { answer, REFUSED, RESET, type RecordingDriver, ServiceRig, STALE } from "../support/call-rig.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const index = fc.nat(30);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      method: fc.constantFrom("GET", "POST"),
      canReplay: fc.boolean(),
      abandonedAs: fc.constantFrom("never-left" as const, "maybe-processed" as const),
      spread: fc.constantFrom("same-then-other" as const, "never-cross" as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), ms: fc.constantFrom(0, 1, 10, 60, 400) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("fail" as const),
      index,
      failure: fc.constantFrom(REFUSED, RESET, STALE),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("answer" as const),
      index,
      status: fc.constantFrom(200, 404, 429, 503),
      retryAfterMs: fc.constantFrom(undefined, 0, 100, 9_000),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("complete" as const), index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cancel" as const), index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("refuse" as const), index }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("view" as const), size: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("ready" as const) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

const steps = fc.array(step, { minLength: 10, maxLength: 100, size: "max" });

const CONCURRENCY = { ratio: 0.2, minimum: 1 };
const MAX_ATTEMPTS = 3;

/** Drives calls of one service as a transport may, and holds what must be true at any time. */
class World {
  readonly rig: ServiceRig;
  readonly calls: { readonly call: Call; readonly driver: RecordingDriver }[] = [];
  /** Discarded answers whose bodies are still read. */
  readonly discarded: Attempt[] = [];

  constructor(seed: number, isSettled: boolean) {
    this.rig = new ServiceRig({
      isSettled,
      random: seededRandom(seed),
      concurrency: CONCURRENCY,
      budget: { minPerSecond: 2 },
      endpoints: this.view(3),
    });
  }

  view(size: number): ReturnType<typeof makeEndpoint>[] {
    return Array.from({ length: size }, (_, id) => makeEndpoint(id + 1, { clusterNumber: (id % 2) + 1 }));
  }

  take(step: Step): void {
    switch (step.kind) {
      case "call": {
        const { method, canReplay, abandonedAs, spread } = step;
        this.calls.push(
          this.rig.call({ method, canReplay, abandonedAs }, { spread, timeoutMs: 700, maxAttempts: MAX_ATTEMPTS }),
        );
        return;
      }
      case "advance":
        this.rig.clock.advance(step.ms);
        return;
      case "view":
        this.rig.adopt(this.view(step.size));
        return;
      case "ready":
        this.rig.becomeReady();
        return;
      case "complete":
        this.#complete(step.index);
        return;
      default:
        this.#report(step);
    }
  }

  #report(step: Extract<Step, { index: number }>): void {
    if (step.kind === "cancel") {
      this.calls[step.index % Math.max(1, this.calls.length)]?.call.cancel(new Error("cancelled"));
      return;
    }
    const open = this.calls.filter(({ call }) => call.state === "attempting");
    const picked = open[step.index % Math.max(1, open.length)];
    if (picked === undefined) return;
    const { call, driver } = picked;
    if (step.kind === "fail") driver.fails(step.failure);
    else if (step.kind === "refuse") call.refused(driver.last, new Error("bad request"));
    else if (step.kind === "answer") {
      const attempt = driver.last;
      const verdict = call.responded(attempt, answer(step.status, { retryAfterMs: step.retryAfterMs }));
      if (verdict === "discard") this.discarded.push(attempt);
    }
  }

  /** A body ends, of a discarded answer or of one that was handed on. */
  #complete(at: number): void {
    this.discarded.splice(at % Math.max(1, this.discarded.length), 1)[0]?.release();
    const committed = this.calls.filter(({ call }) => call.state === "committed");
    committed[at % Math.max(1, committed.length)]?.driver.completes();
  }

  check(): void {
    const { rig, calls } = this;
    const live = calls.filter(({ call }) => call.state !== "ended");
    expect(rig.gate.active).toBe(live.length);
    expect(rig.gate.waiting).toBe(live.filter(({ call }) => call.state === "queued").length);
    expect(rig.waiters.size).toBe(live.filter(({ call }) => call.state === "waiting").length);
    expect(rig.gate.extra).toBeLessThanOrEqual(calls.length);
    expect(rig.clock.timerCount, "one timer for each call that waits").toBe(
      live.filter(({ call }) => call.state !== "committed").length,
    );
    for (const load of rig.balancer.loads) expect(load.inflight).toBeGreaterThanOrEqual(0);
    for (const { driver } of calls) this.#checkAttempts(driver);
  }

  #checkAttempts({ sent, errors, method, path }: RecordingDriver): void {
    expect(errors.length).toBeLessThanOrEqual(1);
    expect(sent.length).toBeLessThanOrEqual(MAX_ATTEMPTS);
    for (const [index, attempt] of sent.slice(0, -1).entries()) {
      expect(attempt.record, "one attempt at a time").toBeDefined();
      if (method === "POST") expect(attempt.record?.outcome).toBe("never-left");
      expect(sent[index + 1]?.number).toBe(attempt.number + 1);
    }
    if (sent.length > 1) expect(path.length).toBe(sent.length);
  }

  /** Ends everything that is under way. */
  finish(): void {
    this.rig.clock.advance(1_000);
    for (const { call, driver } of this.calls) {
      if (call.state === "committed") driver.completes();
      expect(call.state).toBe("ended");
    }
    for (const attempt of this.discarded) attempt.release();
  }
}

describe("calls of one service under any sequence of events", () => {
  it("end once each, hold to the rules of re-sending, and leave nothing in flight, no timer and no place taken", () => {
    fc.assert(
      fc.property(fc.integer(), fc.boolean(), steps, (seed, isSettled, sequence) => {
        const world = new World(seed, isSettled);
        for (const next of sequence) {
          world.take(next);
          world.check();
        }
        world.finish();
        const everyLoad = world.calls.flatMap(({ driver }) => driver.sent.map(({ load }) => load));
        expect(everyLoad.map(({ inflight }) => inflight).filter((inflight) => inflight !== 0)).toEqual([]);
        expect(world.rig.isAtRest).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  it("never have more charged retries in flight than the gate allows when they enter", () => {
    fc.assert(
      fc.property(fc.integer(), fc.boolean(), steps, (seed, isSettled, sequence) => {
        const world = new World(seed, isSettled);
        let before = 0;
        for (const next of sequence) {
          world.take(next);
          const { extra } = world.rig.gate;
          const most = retryConcurrencyLimit(CONCURRENCY, world.calls.length);
          // Calls that end lower the limit, but send nobody back.
          if (extra > before) expect(extra).toBeLessThanOrEqual(most);
          before = extra;
        }
      }),
      { numRuns: 100 },
    );
  });
});
