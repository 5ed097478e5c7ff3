import { describe, expect, it, vi } from "vitest";
import type { CallState } from "../../src/call/call.js";
import { answer, REFUSED, RESET, type RigOptions, ServiceRig, STALE } from "../support/call-rig.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

/** Draws the longest pauses there are. */
const longest = (): number => 0.999_999;
const shortest = (): number => 0;

const local = (id: number) => makeEndpoint(id, { clusterNumber: 1 });
const remote = (id: number) => makeEndpoint(id, { clusterNumber: 2 });

/** A call in each of its states. */
const inState: Record<CallState, () => ReturnType<ServiceRig["call"]> & { rig: ServiceRig }> = {
  waiting: () => started({ isSettled: false }),
  attempting: () => started(),
  "backing-off": () => {
    const it = started({ random: longest });
    it.driver.fails(RESET);
    return it;
  },
  queued: () => {
    const it = started({ concurrency: { ratio: 0, minimum: 0 }, random: shortest });
    it.driver.fails(RESET);
    it.rig.clock.advance(0);
    return it;
  },
  committed: () => {
    const it = started();
    it.driver.answers(answer(200));
    return it;
  },
  ended: () => {
    const it = started();
    it.driver.answers(answer(200));
    it.driver.completes();
    return it;
  },
};
const states = Object.keys(inState) as CallState[];

function started(options: RigOptions = {}): ReturnType<ServiceRig["call"]> & { rig: ServiceRig } {
  const rig = new ServiceRig(options);
  return { ...rig.call(), rig };
}

describe("a call that succeeds", () => {
  it("sends once, commits, and leaves nothing behind", () => {
    const { call, driver, rig } = started();
    expect(call.state).toBe("attempting");
    expect(rig.inflight).toBe(1);
    expect(driver.answers(answer(200))).toBe("commit");
    expect(call.state).toBe("committed");
    expect(rig.clock.timerCount, "the deadline ends with the headers").toBe(0);
    expect(rig.inflight, "the body still holds the endpoint").toBe(1);
    driver.completes();
    expect(call.state).toBe("ended");
    expect([driver.sent.length, driver.errors]).toEqual([1, []]);
    expect(rig.isAtRest).toBe(true);
  });

  it("waits for the first view, and sends as soon as it is there", () => {
    const { call, driver, rig } = started({ isSettled: false });
    expect([call.state, driver.sent.length]).toEqual(["waiting", 0]);
    rig.clock.advance(400);
    rig.becomeReady();
    expect(call.state).toBe("attempting");
    driver.answers(answer(200));
    driver.completes();
    expect(rig.isAtRest).toBe(true);
  });

  it("hands any status that no retry may mend to the caller", () => {
    for (const status of [200, 204, 301, 400, 404, 500, 501]) {
      const { driver, rig } = started();
      expect(driver.answers(answer(status))).toBe("commit");
      driver.completes();
      expect(rig.eventsOf("retry-suppressed")).toEqual([]);
      expect(rig.isAtRest).toBe(true);
    }
  });

  it("settles a record for each attempt", () => {
    const { driver, rig } = started({ random: shortest });
    rig.clock.advance(12);
    driver.fails(REFUSED);
    rig.clock.advance(0);
    rig.clock.advance(30);
    driver.answers(answer(200));
    const [first, second] = driver.sent;
    expect(first?.record).toMatchObject({
      number: 1,
      outcome: "never-left",
      status: undefined,
      error: "connect ECONNREFUSED",
      durationMs: 12,
      cluster: "#1",
      endpoint: `10.0.0.${driver.path[0]}:8080`,
    });
    expect(second?.record).toMatchObject({ number: 2, outcome: "response", status: 200, durationMs: 30 });
  });
});

describe("what may be sent again", () => {
  it("T-04: sends a POST again whose request never left", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "POST" });
    driver.fails(REFUSED);
    rig.clock.advance(50);
    expect(driver.sent).toHaveLength(2);
    expect(driver.path[0]).not.toBe(driver.path[1]);
  });

  it("T-04: does not send a POST again that may have been processed, and says so", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "POST" });
    driver.fails(RESET);
    rig.clock.advance(5_000);
    expect(driver.sent).toHaveLength(1);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_MAYBE_PROCESSED", cause: RESET.error, reason: "other" });
    expect(driver.error.attempts).toHaveLength(1);
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["not-idempotent"]);
  });

  it("T-04: hands a 503 to the caller of a POST instead of repeating it", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "POST" });
    expect(driver.answers(answer(503))).toBe("commit");
    driver.completes();
    expect(rig.isAtRest).toBe(true);
  });

  it("sends a POST again whose caller says that it may be processed twice", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "POST", isIdempotent: true });
    driver.fails(RESET);
    rig.clock.advance(50);
    expect(driver.sent).toHaveLength(2);
  });

  it("T-05: a POST on a connection that the server closed meanwhile is not repeated, a GET is, and for free", () => {
    const rig = new ServiceRig({ budget: { minPerSecond: 0, ratio: 0 } });
    const post = rig.call({ method: "POST" });
    post.driver.fails(STALE);
    expect(post.driver.error.code).toBe("ERR_ONEHOP_MAYBE_PROCESSED");
    const get = rig.call();
    get.driver.fails(STALE);
    rig.clock.advance(50);
    expect(get.driver.sent).toHaveLength(2);
  });

  it("T-01: does not send again what cannot be read again, and the code says so", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "PUT" });
    driver.replayable = false;
    driver.fails(RESET);
    expect(driver.sent).toHaveLength(1);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_BODY_NOT_REPLAYABLE", cause: RESET.error });
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["body-not-replayable"]);
    expect(driver.rewinds).toBe(0);
  });

  it("T-01: has the request made repeatable at the instant a retry is decided, not after the pause", () => {
    const { driver, rig } = started();
    driver.fails(RESET);
    expect([driver.rewinds, driver.sent.length]).toEqual([1, 1]);
    rig.clock.advance(50);
    expect([driver.rewinds, driver.sent.length]).toEqual([1, 2]);
    expect(driver.answers(answer(503))).toBe("discard");
    expect([driver.rewinds, driver.sent.length]).toEqual([2, 2]);
    rig.clock.advance(100);
    driver.answers(answer(200));
    expect([driver.rewinds, driver.sent.length]).toEqual([2, 3]);
  });

  it("T-01: hands a 503 to the caller when the body cannot be read again", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "PUT" });
    driver.replayable = false;
    expect(driver.answers(answer(503))).toBe("commit");
  });

  it("T-12: sends nothing again once the caller has response headers", () => {
    const rig = new ServiceRig();
    const { call, driver } = rig.call();
    driver.answers(answer(200));
    rig.clock.advance(10);
    // The body breaks off: the adapter has told the caller.
    driver.completes();
    rig.clock.advance(10_000);
    expect([call.state, driver.sent.length, driver.errors]).toEqual(["ended", 1, []]);
    expect(rig.eventsOf("retry")).toEqual([]);
    expect(rig.isAtRest).toBe(true);
  });

  it("retries the statuses that say so, and hands on the last one", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call();
    expect(driver.answers(answer(503))).toBe("discard");
    rig.clock.advance(100);
    expect(driver.answers(answer(502))).toBe("discard");
    rig.clock.advance(100);
    expect(driver.answers(answer(504))).toBe("commit");
    driver.completes();
    expect(new Set(driver.path).size).toBe(3);
    expect(rig.eventsOf("retry").map(({ reason, attempt }) => [reason, attempt])).toEqual([
      ["status 503", 1],
      ["status 502", 2],
    ]);
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["max-attempts"]);
    expect(rig.isAtRest).toBe(true);
  });

  it("T-14: tells the caller the last real failure, unchanged, with all attempts", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call();
    driver.fails(RESET);
    rig.clock.advance(100);
    driver.fails(RESET);
    rig.clock.advance(100);
    driver.fails(REFUSED);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_UNREACHABLE", cause: REFUSED.error });
    expect(driver.error.attempts.map(({ outcome }) => outcome)).toEqual([
      "maybe-processed",
      "maybe-processed",
      "never-left",
    ]);
    expect(rig.refreshes, "each failure asks discovery to look").toBe(3);
    expect(rig.isAtRest).toBe(true);
  });

  it("ends with the caller's own error when the request cannot be sent as it is, and blames no endpoint", () => {
    const rig = new ServiceRig();
    const { call, driver } = rig.call();
    const error = new TypeError("invalid header");
    call.refused(driver.last, error);
    expect(driver.errors).toEqual([error]);
    expect(driver.last.load.successRate(rig.clock.now())).toBe(1);
    expect(rig.isAtRest).toBe(true);
  });
});

describe("where attempts go", () => {
  it("T-06: never to the endpoint that has just failed while there is another", () => {
    const rig = new ServiceRig({ endpoints: [local(1), local(2)], budget: { ratio: 1, minPerSecond: 100 } });
    for (let round = 0; round < 300; round += 1) {
      const { driver } = rig.call();
      const isDead = (): boolean => driver.last.load.endpoint.backendId === 1;
      if (isDead()) {
        driver.fails(RESET);
        rig.clock.advance(30);
        expect(isDead()).toBe(false);
      }
      expect(driver.answers(answer(200))).toBe("commit");
      driver.completes();
    }
    expect(rig.isAtRest).toBe(true);
  });

  it("T-07: one endpoint gets every attempt of the call, and no more", () => {
    const rig = new ServiceRig({ endpoints: [local(1)] });
    const { driver } = rig.call();
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      driver.fails(REFUSED);
      rig.clock.advance(300);
    }
    expect(driver.path).toEqual([1, 1, 1]);
    expect(driver.error.code).toBe("ERR_ONEHOP_UNREACHABLE");
    expect(rig.isAtRest).toBe(true);
  });

  it("T-07: of two endpoints none is tried twice in a row", () => {
    const rig = new ServiceRig({ endpoints: [local(1), local(2)] });
    const { driver } = rig.call({}, { maxAttempts: 5, timeoutMs: 10_000 });
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      driver.fails(RESET);
      rig.clock.advance(300);
    }
    expect([
      [1, 2, 1, 2, 1],
      [2, 1, 2, 1, 2],
    ]).toContainEqual(driver.path);
    expect(driver.errors).toHaveLength(1);
  });

  it.each([
    ["a refused connection", REFUSED],
    ["a timeout", undefined],
  ])("leaves the cluster after %s", (_, failure) => {
    const rig = new ServiceRig({ endpoints: [local(1), local(2), remote(9)] });
    const { driver } = rig.call();
    if (failure === undefined) rig.clock.advance(334);
    else driver.fails(failure);
    rig.clock.advance(50);
    expect(driver.path[1]).toBe(9);
  });

  it("stays in the cluster for the first retry after another failure, then leaves it", () => {
    const rig = new ServiceRig({ endpoints: [local(1), local(2), local(3), remote(9)] });
    const { driver } = rig.call();
    driver.answers(answer(503));
    rig.clock.advance(50);
    expect(driver.path[1]).toBeLessThan(9);
    driver.answers(answer(503));
    rig.clock.advance(100);
    expect(driver.path[2]).toBe(9);
  });

  it("leaves for a cluster that the call has not been to rather than back to a tried one", () => {
    const endpoints = [local(1), local(2), remote(9), makeEndpoint(20, { clusterNumber: 3 })];
    const rig = new ServiceRig({ endpoints, order: ["local", "#2", "#3"] });
    const { driver } = rig.call();
    driver.fails(REFUSED);
    rig.clock.advance(50);
    driver.fails(REFUSED);
    rig.clock.advance(100);
    expect(driver.path.slice(1)).toEqual([9, 20]);
  });

  it("never leaves the cluster where that is the rule, not even when it has nothing new to offer", () => {
    const rig = new ServiceRig({ endpoints: [local(1), local(2), remote(9)] });
    const { driver } = rig.call({}, { spread: "never-cross", maxAttempts: 4, timeoutMs: 10_000 });
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      driver.fails(REFUSED);
      rig.clock.advance(300);
    }
    expect(driver.path.filter((id) => id === 9)).toEqual([]);
    expect(driver.path).toHaveLength(4);
  });

  it("ends with the real failure when the view became empty meanwhile", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call();
    driver.fails(RESET);
    rig.adopt([]);
    rig.clock.advance(300);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_MAYBE_PROCESSED", cause: RESET.error });
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["no-endpoint"]);
    expect(rig.isAtRest).toBe(true);
  });

  it("hands a 503 to the caller when no endpoint is left for another attempt", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call();
    rig.adopt([]);
    expect(driver.answers(answer(503))).toBe("commit");
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["no-endpoint"]);
  });

  it("tells why there is nothing to call", () => {
    const rig = new ServiceRig({ endpoints: [] });
    const { driver } = rig.call();
    expect(driver.errors).toEqual([rig.unavailable]);
    expect(rig.isAtRest).toBe(true);
  });
});

describe("the deadline", () => {
  it("ends a call that waits for endpoints", () => {
    const { driver, rig } = started({ isSettled: false });
    rig.clock.advance(999);
    expect(driver.errors).toEqual([]);
    rig.clock.advance(1);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_DEADLINE", reason: "deadline", attempts: [] });
    expect(driver.error.message).toContain("1000 ms passed while waiting for endpoints");
    expect(rig.isAtRest).toBe(true);
  });

  it("ends a call whose last attempt waits, and names that attempt", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({}, { maxAttempts: 1 });
    rig.clock.advance(1_000);
    const { error } = driver;
    expect(error).toMatchObject({ code: "ERR_ONEHOP_DEADLINE", reason: "deadline" });
    expect(error.message).toMatch(/waiting for 10\.0\.0\.\d:8080 \(1 attempt\)/);
    expect(error.attempts.map(({ outcome, durationMs }) => [outcome, durationMs])).toEqual([
      ["maybe-processed", 1_000],
    ]);
    expect(error.cause).toMatchObject({ name: "TimeoutError" });
    expect(driver.abandoned).toHaveLength(1);
    expect(rig.isAtRest).toBe(true);
  });

  it("gives a request that cannot be repeated all the time there is", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({ method: "POST" });
    rig.clock.advance(999);
    expect(driver.abandoned).toEqual([]);
    rig.clock.advance(1);
    expect(driver.error.code).toBe("ERR_ONEHOP_DEADLINE");
  });

  it("ends a call that is queued, with the last failure as its cause", () => {
    const { call, driver, rig } = inState.queued();
    expect(call.state).toBe("queued");
    rig.clock.advance(1_000);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_DEADLINE", cause: RESET.error });
    expect(driver.error.message).toContain("queued for a retry (1 attempt)");
    expect(rig.isAtRest).toBe(true);
  });

  it("T-10: does not sleep past it: ends at once with the last real outcome", () => {
    const rig = new ServiceRig({ random: longest });
    const backoff = { baseMs: 200, capMs: 200 };
    const { driver } = rig.call({}, { timeoutMs: 100, backoff, perTryTimeoutMs: 90 });
    rig.clock.advance(5);
    driver.fails(RESET);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_MAYBE_PROCESSED", cause: RESET.error });
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["deadline"]);
    expect(rig.isAtRest).toBe(true);
  });

  it("T-10: hands the 503 to the caller at once when its hint is past the deadline", () => {
    const rig = new ServiceRig();
    const { driver } = rig.call({}, { timeoutMs: 2_000 });
    expect(driver.answers(answer(503, { isThrottled: true, retryAfterMs: 120_000 }))).toBe("commit");
    expect(rig.clock.timerCount).toBe(0);
  });

  it("T-10: spends no token of the budget for a retry that the deadline does not allow", () => {
    const rig = new ServiceRig({ random: longest });
    const before = rig.budget.balance(rig.clock.now());
    const { driver } = rig.call({}, { timeoutMs: 100, backoff: { baseMs: 200, capMs: 200 } });
    driver.fails(RESET);
    expect(rig.budget.balance(rig.clock.now())).toBe(before);
  });

  it("T-32: only monotonic time counts: the wall clock jumps by an hour both ways in the middle", () => {
    const run = (jumpMs: number): unknown[] => {
      const wall = vi.spyOn(Date, "now").mockReturnValue(1_700_000_000_000);
      try {
        const rig = new ServiceRig();
        const { call, driver } = rig.call();
        driver.fails(RESET);
        wall.mockReturnValue(1_700_000_000_000 + jumpMs);
        const log: unknown[] = [call.state];
        rig.clock.advance(26);
        log.push(call.state, driver.sent.length);
        wall.mockReturnValue(1_700_000_000_000 - jumpMs);
        rig.clock.advance(900);
        log.push(call.state, driver.sent.length);
        rig.clock.advance(100);
        log.push(call.state, driver.error.code, driver.sent.length, rig.budget.balance(rig.clock.now()));
        return log;
      } finally {
        wall.mockRestore();
      }
    };
    expect(run(3_600_000)).toEqual(run(0));
    expect(run(0).slice(0, 3)).toEqual(["backing-off", "attempting", 2]);
  });
});

describe("the timeout of one attempt", () => {
  it("is the share of the whole by default, what the first ones leave over goes to the later ones", () => {
    const rig = new ServiceRig({ random: shortest });
    const { driver } = rig.call({}, { timeoutMs: 900 });
    rig.clock.advance(299);
    expect(driver.sent).toHaveLength(1);
    rig.clock.advance(1);
    expect(driver.sent).toHaveLength(2);
    expect(driver.abandoned.map(({ attempt }) => attempt.number)).toEqual([1]);
    rig.clock.advance(100);
    driver.fails(RESET);
    rig.clock.advance(0);
    expect(driver.sent).toHaveLength(3);
    rig.clock.advance(499);
    expect(driver.errors).toEqual([]);
    rig.clock.advance(1);
    expect(driver.error.code).toBe("ERR_ONEHOP_DEADLINE");
    expect(driver.error.attempts).toHaveLength(3);
    expect(rig.isAtRest).toBe(true);
  });

  it("is the configured one where there is one", () => {
    const rig = new ServiceRig({ random: shortest });
    const { driver } = rig.call({}, { perTryTimeoutMs: 40 });
    rig.clock.advance(40);
    expect(driver.sent).toHaveLength(2);
    rig.clock.advance(40);
    rig.clock.advance(40);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_MAYBE_PROCESSED", reason: "timeout" });
    expect(driver.error.cause).toMatchObject({ name: "TimeoutError" });
    expect(rig.clock.now()).toBe(5_120);
  });

  it("raises the latency of the endpoint that did not answer, and counts as its failure", () => {
    const rig = new ServiceRig({ random: shortest });
    const { driver } = rig.call({}, { perTryTimeoutMs: 400 });
    const { load } = driver.last;
    rig.clock.advance(400);
    expect(load.successRate(rig.clock.now())).toBeCloseTo(0.9);
    expect(load.cost(30, rig.clock.now())).toBeGreaterThan(400);
    expect(load.inflight).toBe(0);
  });

  it("T-04: sends a POST again that timed out before anything was written", () => {
    const rig = new ServiceRig({ random: shortest });
    const { driver } = rig.call({ method: "POST", abandonedAs: "never-left" }, { perTryTimeoutMs: 100 });
    rig.clock.advance(100);
    expect(driver.sent).toHaveLength(2);
    expect(driver.sent[0]?.record?.outcome).toBe("never-left");
  });
});

describe("the pause before a retry", () => {
  it("is drawn from the range of its ordinal", () => {
    const rig = new ServiceRig({ random: longest, budget: { minPerSecond: 10 } });
    const { driver } = rig.call({}, { maxAttempts: 6, timeoutMs: 60_000 });
    for (let attempt = 1; attempt <= 5; attempt += 1) {
      driver.fails(RESET);
      rig.clock.advance(300);
    }
    expect(rig.eventsOf("retry").map(({ delayMs }) => Math.round(delayMs))).toEqual([25, 75, 175, 250, 250]);
  });

  it("follows an overloaded server's own range, and its hint", () => {
    const rig = new ServiceRig({ random: longest });
    const policy = { timeoutMs: 60_000, perTryTimeoutMs: 1_000 };
    rig.call({}, policy).driver.answers(answer(429));
    rig.call({}, policy).driver.answers(answer(429, { retryAfterMs: 3_000 }));
    rig.call({}, policy).driver.answers(answer(503, { retryAfterMs: 50_000, isThrottled: true }));
    const [plain, hinted, clamped] = rig.eventsOf("retry").map(({ delayMs }) => delayMs);
    expect(plain).toBeCloseTo(1_000, 0);
    expect(hinted).toBeCloseTo(4_500, 0);
    expect(clamped, "at most 5 s more than computed, and half as much again").toBeCloseTo(9_000, 0);
  });

  it("T-10: hands the answer on at once when the server asks for longer than the call lasts", () => {
    const rig = new ServiceRig({ random: longest });
    const { driver } = rig.call({}, { timeoutMs: 15_000 });
    driver.answers(answer(503, { retryAfterMs: 120_000, isThrottled: true }));
    expect(rig.eventsOf("retry")).toEqual([]);
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["deadline"]);
  });
});

describe("the budget", () => {
  it("T-02: 1,000 calls a second that all fail send at most 1.2 × calls + the reserve", () => {
    const rig = new ServiceRig({ endpoints: [1, 2, 3, 4, 5].map(local) });
    let sends = 0;
    let calls = 0;
    const seconds = 20;
    for (let ms = 0; ms < seconds * 1_000; ms += 1) {
      calls += 1;
      rig.call(
        {
          onSend: (attempt, call) => {
            sends += 1;
            if (call.responded(attempt, answer(503)) === "discard") attempt.release();
            else call.completed(attempt);
          },
        },
        { maxAttempts: 5, timeoutMs: 10_000 },
      );
      rig.clock.advance(1);
    }
    rig.clock.advance(20_000);
    expect(calls).toBe(20_000);
    expect(sends).toBeGreaterThan(1.15 * calls);
    // One reserve of 10 for each ttl that was begun.
    expect(sends).toBeLessThanOrEqual(1.2 * calls + 10 * (seconds / 10 + 1));
    expect(rig.isAtRest).toBe(true);
  });

  it("refuses with the last real outcome and says so", () => {
    const rig = new ServiceRig({ budget: { ratio: 0, minPerSecond: 0 } });
    const failing = rig.call();
    failing.driver.fails(RESET);
    expect(failing.driver.error).toMatchObject({ code: "ERR_ONEHOP_MAYBE_PROCESSED", cause: RESET.error });
    expect(rig.call().driver.answers(answer(503))).toBe("commit");
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["budget", "budget"]);
  });

  it("does not charge the first re-send of what never left, but every later one", () => {
    const rig = new ServiceRig({ budget: { ratio: 0, minPerSecond: 0 } });
    const { driver } = rig.call();
    driver.fails(REFUSED);
    rig.clock.advance(100);
    expect(driver.sent).toHaveLength(2);
    driver.fails(REFUSED);
    expect(driver.error).toMatchObject({ code: "ERR_ONEHOP_UNREACHABLE", cause: REFUSED.error });
    expect(rig.eventsOf("retry-suppressed").map(({ reason }) => reason)).toEqual(["budget"]);
  });

  it("T-13: is fed when the first attempt starts, not by calls that wait for a view", () => {
    const rig = new ServiceRig({ isSettled: false, budget: { ratio: 1, minPerSecond: 0 } });
    rig.call();
    rig.call();
    expect(rig.budget.balance(rig.clock.now())).toBe(0);
    rig.becomeReady();
    expect(rig.budget.balance(rig.clock.now())).toBe(2);
  });
});

describe("the retry gate", () => {
  it("queues retries in order, and none fails for it", () => {
    const rig = new ServiceRig({ random: shortest, budget: { ratio: 1 }, concurrency: { ratio: 0, minimum: 2 } });
    const calls = Array.from({ length: 6 }, () => rig.call());
    for (const { driver } of calls) driver.fails(RESET);
    rig.clock.advance(0);
    expect(calls.map(({ call }) => call.state)).toEqual([
      "attempting",
      "attempting",
      "queued",
      "queued",
      "queued",
      "queued",
    ]);
    expect([rig.gate.extra, rig.gate.waiting]).toEqual([2, 4]);
    // The second one answers first: the third, who waits longest, goes.
    calls[1]?.driver.answers(answer(200));
    expect(calls.map(({ driver }) => driver.sent.length)).toEqual([2, 2, 2, 1, 1, 1]);
    calls[2]?.driver.fails(RESET);
    expect(calls.map(({ driver }) => driver.sent.length)).toEqual([2, 2, 2, 2, 1, 1]);
    for (const index of [0, 3, 4, 5]) calls[index]?.driver.answers(answer(200));
    rig.clock.advance(0);
    calls[2]?.driver.answers(answer(200));
    for (const { driver } of calls) driver.completes();
    expect(calls.flatMap(({ driver }) => driver.errors)).toEqual([]);
    expect(rig.isAtRest).toBe(true);
  });

  it("lets the free re-send pass", () => {
    const rig = new ServiceRig({ random: shortest, concurrency: { ratio: 0, minimum: 0 } });
    const { driver } = rig.call();
    driver.fails(REFUSED);
    rig.clock.advance(0);
    expect([driver.sent.length, rig.gate.extra]).toEqual([2, 0]);
  });
});

describe("cancelling", () => {
  it.each(states)("settles at once in the state %s and leaves nothing behind", (state) => {
    const { call, driver, rig } = inState[state]();
    expect(call.state).toBe(state);
    const reason = { because: "the user left" };
    call.cancel(reason);
    expect(call.state).toBe("ended");
    expect(driver.errors).toEqual(state === "ended" ? [] : [reason]);
    expect(rig.isAtRest).toBe(true);
    call.cancel(new Error("again"));
    rig.clock.advance(60_000);
    expect(driver.errors).toHaveLength(state === "ended" ? 0 : 1);
  });

  it.each(["attempting", "committed"] as const)("drops the attempt in the state %s", (state) => {
    const { call, driver } = inState[state]();
    call.cancel("a word");
    expect(driver.abandoned.map(({ reason }) => reason.message)).toEqual(["the call was aborted"]);
    expect(driver.abandoned[0]?.reason.cause).toBe("a word");
  });

  it("does not blame the endpoint, but remembers how long it had been waited for", () => {
    const { call, driver, rig } = inState.attempting();
    rig.clock.advance(200);
    call.cancel(new Error("enough"));
    const { load } = driver.last;
    expect(load.successRate(rig.clock.now())).toBe(1);
    expect(load.cost(30, rig.clock.now())).toBeCloseTo(200);
    expect(driver.last.record).toMatchObject({ outcome: "cancelled", error: "enough" });
  });

  it("gives the place of the retry gate to the next one", () => {
    const rig = new ServiceRig({ random: shortest, concurrency: { ratio: 0, minimum: 1 } });
    const [first, second] = [rig.call(), rig.call()];
    first.driver.fails(RESET);
    second.driver.fails(RESET);
    rig.clock.advance(0);
    expect(second.call.state).toBe("queued");
    first.call.cancel(new Error("enough"));
    expect(second.call.state).toBe("attempting");
    second.driver.answers(answer(200));
    second.driver.completes();
    expect(rig.isAtRest).toBe(true);
  });

  it("may come from within the send", () => {
    const rig = new ServiceRig();
    const { call, driver } = rig.call({ onSend: (_, sending) => sending.cancel(new Error("enough")) });
    expect(call.state).toBe("ended");
    expect(driver.errors).toHaveLength(1);
    expect(rig.isAtRest).toBe(true);
  });
});

describe("timers", () => {
  it("is at most one for a call, and keeps the process alive while the caller waits", () => {
    for (const state of states) {
      const { rig } = inState[state]();
      const isWaitedFor = state !== "committed" && state !== "ended";
      expect([state, rig.clock.timerCount, rig.clock.foregroundTimerCount]).toEqual([
        state,
        Number(isWaitedFor),
        Number(isWaitedFor),
      ]);
    }
  });
});
