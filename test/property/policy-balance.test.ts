import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { judgeIdentities } from "../../src/policy/identity-expectation.js";
import { type LocalityOrder, localityTiers } from "../../src/policy/locality-tiers.js";
import { PeakEwma } from "../../src/policy/peak-ewma.js";
import { SuccessRate } from "../../src/policy/success-rate.js";
import { twoChoices } from "../../src/policy/two-choices.js";
import { seededRandom } from "../../src/random.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

describe("twoChoices", () => {
  it("compares two different candidates and takes the cheaper", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5), { minLength: 2, maxLength: 50 }), fc.integer(), (costs, seed) => {
        const candidates = costs.map((cost, index) => ({ cost, index }));
        const asked: (typeof candidates)[number][] = [];
        const picked = twoChoices(
          candidates,
          (candidate) => {
            asked.push(candidate);
            return candidate.cost;
          },
          seededRandom(seed),
        );
        expect(asked).toHaveLength(2);
        expect(asked[0]).not.toBe(asked[1]);
        expect(asked).toContain(picked);
        expect(picked?.cost).toBe(Math.min(...asked.map((candidate) => candidate.cost)));
      }),
    );
  });

  it.each([2, 3, 5, 12])("draws every ordered pair of %i alike", (count) => {
    const random = seededRandom(count);
    const candidates = Array.from({ length: count }, (_, index) => index);
    const pairs = new Map<string, number>();
    const perPair = 2_000;
    const total = perPair * count * (count - 1);
    for (let pick = 0; pick < total; pick++) {
      const asked: number[] = [];
      // All cost the same, so the winner is the one drawn first.
      const first = twoChoices(candidates, (candidate) => asked.push(candidate) * 0, random);
      const pair = `${first} ${asked.find((candidate) => candidate !== first)}`;
      pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
    }
    expect(pairs.size).toBe(count * (count - 1));
    // Five standard deviations of a count of 2,000.
    for (const drawn of pairs.values()) expect(Math.abs(drawn - perPair)).toBeLessThan(5 * Math.sqrt(perPair));
  });
});

describe("localityTiers", () => {
  const name = fc.constantFrom("blue", "green", "red", "grey");
  const entry = fc.oneof(name, fc.constantFrom("local", "*", "#1", "#2", "#3"));
  const order: fc.Arbitrary<LocalityOrder> = fc.oneof(fc.constant("any" as const), fc.array(entry, { maxLength: 6 }));
  const maybeName = fc.option(name, { nil: undefined });
  const maybeNumber = fc.option(fc.nat(4), { nil: undefined });
  const endpoints = fc
    .array(fc.record({ cluster: maybeName, clusterNumber: maybeNumber }), { maxLength: 20 })
    .map((localities) => localities.map((locality, index) => makeEndpoint(index + 1, locality)));
  const local = fc.option(fc.record({ number: maybeNumber, name: maybeName }), { nil: undefined });

  it("puts every endpoint into exactly one tier, in order, and has no empty tier", () => {
    fc.assert(
      fc.property(endpoints, order, local, (all, tierOrder, own) => {
        const tiers = localityTiers(all, tierOrder, own);
        expect(tiers.every((tier) => tier.length > 0)).toBe(true);
        const placed = tiers.flat();
        expect(placed).toHaveLength(all.length);
        expect(new Set(placed)).toEqual(new Set(all));
        for (const tier of tiers) expect(tier).toEqual(all.filter((endpoint) => tier.includes(endpoint)));
      }),
    );
  });

  it("keeps the endpoints of one cluster together", () => {
    fc.assert(
      fc.property(endpoints, order, local, (all, tierOrder, own) => {
        const tiers = localityTiers(all, tierOrder, own);
        const tierOf = new Map<string, number>();
        for (const [index, tier] of tiers.entries()) {
          for (const { locality } of tier) {
            const cluster = `${locality.cluster} ${locality.clusterNumber}`;
            expect(tierOf.get(cluster) ?? index).toBe(index);
            tierOf.set(cluster, index);
          }
        }
      }),
    );
  });
});

describe("judgeIdentities", () => {
  const number = fc.option(fc.constantFrom(0, 2, 300, 301, 0x0100_0001), { nil: undefined });
  const expectation = fc.record({
    numbers: fc.constant([300]),
    unknown: fc.constantFrom("allow" as const, "refuse" as const),
    strict: fc.boolean(),
  });

  it("allows or refuses each endpoint, and never refuses a match", () => {
    fc.assert(
      fc.property(fc.array(number, { maxLength: 12 }), expectation, (numbers, expected) => {
        const endpoints = numbers.map((value, index) =>
          makeEndpoint(index + 1, {}, value === undefined ? undefined : { number: value, labels: undefined }),
        );
        const verdict = judgeIdentities(expected, endpoints);
        expect(verdict.allowed.length + verdict.refused.length).toBe(endpoints.length);
        expect(new Set([...verdict.allowed, ...verdict.refused])).toEqual(new Set(endpoints));
        expect(verdict.refused.some((endpoint) => endpoint.identity?.number === 300)).toBe(false);
        const home = verdict.obeyed ? verdict.refused : verdict.allowed;
        for (const endpoint of verdict.mismatched) expect(home).toContain(endpoint);
        if (expected.strict) expect(verdict.obeyed).toBe(true);
      }),
    );
  });
});

describe("moving averages", () => {
  const latency = fc.double({ min: 0, max: 1e6, noNaN: true });
  const sample = fc.record({
    pauseMs: fc.nat(60_000),
    latencyMs: latency,
    isComplete: fc.boolean(),
    success: fc.boolean(),
  });

  it("PeakEwma stays between 0 and the highest sample, and at or above the last one", () => {
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 50 }), (samples) => {
        const average = new PeakEwma(10_000);
        let now = 0;
        let highest = 0;
        let hasComplete = false;
        for (const { pauseMs, latencyMs, isComplete } of samples) {
          now += pauseMs;
          highest = Math.max(highest, latencyMs);
          if (isComplete) average.observe(latencyMs, now);
          else average.observeAtLeast(latencyMs, now);
          hasComplete ||= isComplete;
          const value = average.value(now);
          expect(value !== undefined).toBe(hasComplete);
          if (value === undefined) continue;
          expect(value).toBeGreaterThanOrEqual(latencyMs * (1 - 1e-12));
          expect(value).toBeLessThanOrEqual(highest * (1 + 1e-12));
          expect(average.value(now + 1)).toBeLessThanOrEqual(value);
        }
      }),
    );
  });

  it("SuccessRate stays within 0.01..1, falls with failures only and rises while idle", () => {
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 200 }), (samples) => {
        const rate = new SuccessRate(10_000);
        let now = 0;
        for (const { pauseMs, success } of samples) {
          now += pauseMs;
          const before = rate.value(now);
          rate.record(success, now);
          const after = rate.value(now);
          expect(after).toBeGreaterThanOrEqual(0.01);
          expect(after).toBeLessThanOrEqual(1);
          if (success) expect(after).toBeGreaterThanOrEqual(before);
          else expect(after).toBeLessThanOrEqual(before);
          expect(rate.value(now + 100)).toBeGreaterThanOrEqual(after);
        }
      }),
    );
  });
});
