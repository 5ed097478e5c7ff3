import { describe, expect, it } from "vitest";
import { RetryGate } from "../../src/call/retry-gate.js";

/** A waiter that notes its turn. */
const noting = (log: string[], name: string, then: () => void = () => undefined) => ({
  admitted: () => {
    log.push(name);
    then();
  },
});

describe("RetryGate", () => {
  it("gives places up to the minimum, and further ones in the order of arrival", () => {
    const gate = new RetryGate({ ratio: 0.2, minimum: 2 });
    const log: string[] = [];
    for (const name of ["a", "b", "c", "d"]) gate.enter(noting(log, name));
    expect([log.join(""), gate.extra, gate.waiting]).toEqual(["ab", 2, 2]);
    gate.leave();
    expect([log.join(""), gate.extra, gate.waiting]).toEqual(["abc", 2, 1]);
  });

  it("has a share of the calls under way", () => {
    const gate = new RetryGate({ ratio: 0.2, minimum: 2 });
    for (let call = 0; call < 30; call += 1) gate.callStarted();
    const log: string[] = [];
    for (let call = 0; call < 10; call += 1) gate.enter(noting(log, "x"));
    expect([log.length, gate.active]).toEqual([6, 30]);
  });

  it("does not let a newcomer pass those who wait, also when there is more room meanwhile", () => {
    const gate = new RetryGate({ ratio: 0.5, minimum: 1 });
    const log: string[] = [];
    for (const name of ["a", "b", "c"]) gate.enter(noting(log, name));
    expect(log.join("")).toBe("a");
    for (let call = 0; call < 6; call += 1) gate.callStarted();
    gate.enter(noting(log, "d"));
    expect(log.join("")).toBe("abc");
    gate.leave();
    expect(log.join("")).toBe("abcd");
  });

  it("forgets who left the queue", () => {
    const gate = new RetryGate({ ratio: 0, minimum: 1 });
    const log: string[] = [];
    const gone = noting(log, "gone");
    gate.enter(noting(log, "a"));
    gate.enter(gone);
    gate.enter(noting(log, "b"));
    gate.forget(gone);
    gate.forget(gone);
    gate.leave();
    expect(log).toEqual(["a", "b"]);
  });

  it("lets a hundred thousand pass who give their place back at once", () => {
    const gate = new RetryGate({ ratio: 0, minimum: 1 });
    const log: string[] = [];
    gate.enter(noting(log, "first"));
    for (let call = 0; call < 100_000; call += 1) gate.enter(noting(log, "x", () => gate.leave()));
    gate.leave();
    expect([log.length, gate.extra, gate.waiting]).toEqual([100_001, 0, 0]);
  });
});
