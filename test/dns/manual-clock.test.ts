import { describe, expect, it } from "vitest";
import { ManualClock } from "../support/manual-clock.js";

describe("ManualClock", () => {
  it("fires timers in the order they are due, each at its own time, with those set meanwhile", () => {
    const clock = new ManualClock(100);
    const fired: string[] = [];
    const note = (what: string) => () => fired.push(`${what}@${clock.now()}`);
    clock.setTimer(30, note("c"));
    clock.setTimer(10, note("a"));
    clock.setBackgroundTimer(10, () => {
      note("b")();
      clock.setTimer(5, note("nested"));
    });
    clock.setTimer(20, note("cancelled")).cancel();
    clock.setTimer(31, note("later"));
    clock.advance(30);
    expect(fired).toEqual(["a@110", "b@110", "nested@115", "c@130"]);
    expect([clock.now(), clock.timerCount, clock.foregroundTimerCount]).toEqual([130, 1, 1]);
  });

  it("lets promises run between timers", async () => {
    const clock = new ManualClock();
    const delay = (ms: number) => new Promise<void>((resolve) => clock.setTimer(ms, resolve));
    const run = (async () => {
      await delay(10);
      await delay(10);
      return clock.now();
    })();
    await clock.advanceAsync(25);
    expect(await run).toBe(20);
    expect(clock.now()).toBe(25);
  });
});
