import { describe, expect, it } from "vitest";
import { createAddressCache } from "../../src/dns/address-cache.js";
import type { ResolvedName, Resolver } from "../../src/dns/resolver.js";
import { OnehopError } from "../../src/errors.js";
import { ManualClock } from "../support/manual-clock.js";

/** A resolver that a test answers by hand. */
function manualResolver() {
  const asked: string[] = [];
  const background: boolean[] = [];
  const pending: { resolve(addresses: readonly string[], ttlMs?: number): void; fail(reason: string): void }[] = [];
  const resolver: Resolver = {
    resolve(host, { isBackground = false } = {}) {
      asked.push(host);
      background.push(isBackground);
      return new Promise<ResolvedName>((resolve, reject) => {
        pending.push({
          resolve: (addresses, ttlMs = 30_000) => resolve({ addresses, ttlMs, name: host }),
          fail: (reason) => reject(new OnehopError("ERR_ONEHOP_NAME", reason, { reason })),
        });
      });
    },
  };
  return {
    resolver,
    asked,
    background,
    next() {
      const question = pending.shift();
      if (question === undefined) throw new Error("nothing was asked");
      return question;
    },
  };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("createAddressCache", () => {
  it("T-32: keeps an answer for its lifetime on the monotonic clock, and tells what is left of it", async () => {
    const clock = new ManualClock(1_000);
    const { resolver, asked, next } = manualResolver();
    const cache = createAddressCache(resolver, clock);
    const first = cache.addresses("quotes.energy");
    next().resolve(["10.96.7.7"], 30_000);
    expect(await first).toMatchObject({ addresses: ["10.96.7.7"], ttlMs: 30_000 });
    clock.advance(29_999);
    expect(await cache.addresses("Quotes.Energy")).toMatchObject({ addresses: ["10.96.7.7"], ttlMs: 1 });
    expect(asked).toHaveLength(1);
    clock.advance(1);
    const second = cache.addresses("quotes.energy");
    next().resolve(["10.96.7.8"]);
    expect((await second).addresses).toEqual(["10.96.7.8"]);
    expect(asked).toHaveLength(2);
    expect(clock.timerCount).toBe(0);
  });

  it("has one question in flight per name", async () => {
    const { resolver, asked, next } = manualResolver();
    const cache = createAddressCache(resolver, new ManualClock());
    const answers = [cache.addresses("a"), cache.addresses("a"), cache.addresses("b")];
    expect(asked).toEqual(["a", "b"]);
    next().resolve(["10.0.0.1"]);
    next().resolve(["10.0.0.2"]);
    expect((await Promise.all(answers)).map(({ addresses }) => addresses)).toEqual([
      ["10.0.0.1"],
      ["10.0.0.1"],
      ["10.0.0.2"],
    ]);
  });

  it("asks for an absolute name apart from a relative one", async () => {
    const { resolver, asked, next } = manualResolver();
    const cache = createAddressCache(resolver, new ManualClock());
    const both = [cache.addresses("quotes.energy"), cache.addresses("quotes.energy.")];
    expect(asked).toEqual(["quotes.energy", "quotes.energy."]);
    next().resolve(["10.0.0.1"]);
    next().resolve(["10.0.0.2"]);
    await Promise.all(both);
  });

  it("remembers a failure for a second", async () => {
    const clock = new ManualClock();
    const { resolver, asked, next } = manualResolver();
    const cache = createAddressCache(resolver, clock);
    const first = cache.addresses("a");
    next().fail("not-found");
    await expect(first).rejects.toMatchObject({ reason: "not-found" });
    await expect(cache.addresses("a")).rejects.toMatchObject({ reason: "not-found" });
    expect(asked).toHaveLength(1);
    clock.advance(1_000);
    const second = cache.addresses("a");
    next().resolve(["10.0.0.1"]);
    expect((await second).addresses).toEqual(["10.0.0.1"]);
  });

  /** A cache whose answer for `a` has just expired. */
  async function expired() {
    const clock = new ManualClock();
    const manual = manualResolver();
    const cache = createAddressCache(manual.resolver, clock);
    const first = cache.addresses("a");
    manual.next().resolve(["10.0.0.1"], 5_000);
    await first;
    clock.advance(5_000);
    return { ...manual, clock, cache };
  }
  const STALE = { addresses: ["10.0.0.1"], ttlMs: 1_000 };

  it("gives the old answer when a refresh fails, and then tries again in the background", async () => {
    const { cache, clock, next, asked, background } = await expired();
    const second = cache.addresses("a");
    next().fail("no-answer");
    expect(await second).toMatchObject(STALE);
    expect(await cache.addresses("a")).toMatchObject(STALE);
    expect(asked).toHaveLength(2);
    clock.advance(1_000);
    expect(await cache.addresses("a")).toMatchObject(STALE);
    expect(asked).toHaveLength(3);
    expect(background).toEqual([true, true, true]);
    next().resolve(["10.0.0.2"], 9_000);
    await settle();
    expect(await cache.addresses("a")).toMatchObject({ addresses: ["10.0.0.2"], ttlMs: 9_000 });
    expect(clock.timerCount).toBe(0);
  });

  it("gives the old answer when a refresh takes long", async () => {
    const { cache, clock, next } = await expired();
    const second = cache.addresses("a");
    expect(clock.timerCount).toBe(1);
    expect(clock.foregroundTimerCount).toBe(0);
    clock.advance(1_800);
    expect(await second).toMatchObject(STALE);
    next().resolve(["10.0.0.2"]);
    await settle();
    expect((await cache.addresses("a")).addresses).toEqual(["10.0.0.2"]);
  });

  it("does not keep the address of a name that is no more", async () => {
    const { cache, next } = await expired();
    const second = cache.addresses("a");
    next().fail("not-found");
    await expect(second).rejects.toMatchObject({ reason: "not-found" });
    await expect(cache.addresses("a")).rejects.toMatchObject({ reason: "not-found" });
  });

  it("lets an old answer stand in for a day at most", async () => {
    const { cache, clock, next, background } = await expired();
    clock.advance(86_400_001);
    const late = cache.addresses("a");
    next().fail("no-answer");
    await expect(late).rejects.toMatchObject({ reason: "no-answer" });
    expect(background).toEqual([true, true]);
  });

  it("lets fixed addresses win over everything", async () => {
    const { resolver, asked } = manualResolver();
    const cache = createAddressCache(resolver, new ManualClock(), { "Quotes.energy": ["10.96.7.7", "FD00::0:7"] });
    expect((await cache.addresses("quotes.energy.")).addresses).toEqual(["10.96.7.7", "fd00::7"]);
    expect(asked).toEqual([]);
  });

  it("refuses fixed values that are no addresses", () => {
    const { resolver } = manualResolver();
    const clock = new ManualClock();
    expect(() => createAddressCache(resolver, clock, { a: ["10.0.0.1", "b"] })).toThrow(
      /addresses\["a"\]\[1\]: "b" is no IP address/,
    );
    expect(() => createAddressCache(resolver, clock, { a: [] })).toThrow(/addresses\["a"\] is empty/);
  });

  it("forgets the name not asked for longest beyond 10,000 names", async () => {
    const asked: string[] = [];
    const resolver: Resolver = {
      async resolve(host) {
        asked.push(host);
        return { addresses: ["10.0.0.1"], ttlMs: 60_000, name: host };
      },
    };
    const cache = createAddressCache(resolver, new ManualClock());
    for (let index = 0; index < 10_000; index += 1) await cache.addresses(`name-${index}`);
    await cache.addresses("name-0");
    await cache.addresses("one-more");
    asked.length = 0;
    await cache.addresses("name-0");
    await cache.addresses("name-2");
    expect(asked).toEqual([]);
    await cache.addresses("name-1");
    expect(asked).toEqual(["name-1"]);
  });
});
