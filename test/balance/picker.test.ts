import { describe, expect, it } from "vitest";
import { EndpointLoad } from "../../src/balance/endpoint-load.js";
import { EMPTY_PICKER, FIRST_PICK, Picker, type PickHints } from "../../src/balance/picker.js";
import { seededRandom } from "../../src/random.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const loads = (...ids: readonly number[]): EndpointLoad[] => ids.map((id) => new EndpointLoad(makeEndpoint(id)));
const idOf = (load: EndpointLoad | undefined): number | undefined => load?.endpoint.backendId;

/** The ids that are picked in 200 draws, sorted. */
function drawn(picker: Picker, hints: Partial<PickHints> = {}): number[] {
  const random = seededRandom(3);
  const ids = new Set<number>();
  for (let draw = 0; draw < 200; draw += 1) {
    const id = idOf(picker.pick({ ...FIRST_PICK, ...hints }, 0, random));
    if (id !== undefined) ids.add(id);
  }
  return [...ids].sort((a, b) => a - b);
}

describe("a first pick", () => {
  it("is one of the nearest tier", () => {
    expect(drawn(new Picker([loads(1, 2, 3), loads(7, 8)], loads(9)))).toEqual([1, 2, 3]);
  });

  it("is a terminating endpoint only when no active one is left", () => {
    expect(drawn(new Picker([loads(1)], loads(8, 9)))).toEqual([1]);
    expect(drawn(new Picker([], loads(8, 9)))).toEqual([8, 9]);
  });

  it("is nothing when there is nothing", () => {
    expect([drawn(EMPTY_PICKER), EMPTY_PICKER.isEmpty]).toEqual([[], true]);
    expect([new Picker([loads(1)], []).isEmpty, new Picker([], loads(1)).isEmpty]).toEqual([false, false]);
  });

  it("prefers the cheaper of two", () => {
    const [quick, slow] = loads(1, 2) as [EndpointLoad, EndpointLoad];
    quick.answered(true, 2, 0);
    slow.answered(true, 40, 0);
    expect(drawn(new Picker([[slow, quick]], []))).toEqual([1]);
  });

  it("spreads evenly over endpoints that are alike", () => {
    const alike = loads(1, 2, 3, 4);
    const picker = new Picker([alike], []);
    const random = seededRandom(5);
    for (let call = 0; call < 4_000; call += 1) picker.pick(FIRST_PICK, 0, random)?.begin();
    for (const { picks } of alike) expect(Math.abs(picks - 1_000)).toBeLessThan(10);
  });

  it("gives a new pod its share, neither none nor all", () => {
    const old = loads(1, 2, 3);
    for (const load of old) load.answered(true, 2, 0);
    const [fresh] = loads(4);
    const picker = new Picker([[...old, fresh as EndpointLoad]], []);
    expect(picker.cost(fresh as EndpointLoad, 0), "the median of the others, not 30 ms").toBe(2);
    expect(drawn(picker)).toContain(4);
  });

  it("takes the median of a tier anew once a second", () => {
    const [known, fresh] = loads(1, 2) as [EndpointLoad, EndpointLoad];
    known.answered(true, 2, 0);
    const picker = new Picker([[known, fresh]], []);
    expect(picker.cost(fresh, 0)).toBe(2);
    known.answered(true, 80, 10);
    expect(picker.cost(fresh, 999)).toBe(2);
    expect(picker.cost(fresh, 1_001)).toBeGreaterThan(70);
  });

  it("takes another cluster for further away until it is measured", () => {
    const picker = new Picker([loads(1), loads(2)], loads(3));
    const [near, far] = picker.tiers.map((tier) => picker.cost(tier[0] as EndpointLoad, 0));
    expect([near, far, picker.cost(picker.lastResort[0] as EndpointLoad, 0)]).toEqual([30, 100, 30]);
  });
});

describe("a further pick", () => {
  const [a, b, c] = loads(1, 2, 3) as [EndpointLoad, EndpointLoad, EndpointLoad];
  const [far, farther] = loads(7, 8) as [EndpointLoad, EndpointLoad];

  it("T-06: is one that was not tried, however cheap the tried one is", () => {
    const [failed, other] = loads(1, 2) as [EndpointLoad, EndpointLoad];
    other.answered(true, 5_000, 0);
    other.failed(0);
    expect(drawn(new Picker([[failed, other]], []), { tried: [failed] })).toEqual([2]);
  });

  it("takes the next tier when all of this one were tried", () => {
    expect(drawn(new Picker([[a, b], [far]], []), { tried: [a, b] })).toEqual([7]);
  });

  it("T-07: takes a tried one when all were, not the last one if there is another, and the last one if not", () => {
    expect(drawn(new Picker([[a, b, c]], []), { tried: [a, c, b] })).toEqual([1, 3]);
    expect(drawn(new Picker([[a]], []), { tried: [a] })).toEqual([1]);
    expect(drawn(new Picker([[a], [far]], []), { tried: [a, far] })).toEqual([1]);
  });

  it("leaves a tier for others, nearest first, and stays where there is no other", () => {
    const picker = new Picker([[a, b], [far], [farther]], []);
    expect(drawn(picker, { tried: [a], leaveTierOf: a })).toEqual([7]);
    expect(drawn(new Picker([[a, b]], []), { tried: [a], leaveTierOf: a })).toEqual([2]);
    expect(drawn(picker, { tried: [a, far, farther], leaveTierOf: farther })).toEqual([2]);
  });

  it("stays in a tier that is not to be left, tried or not", () => {
    const picker = new Picker(
      [
        [a, b],
        [far, farther],
      ],
      [],
    );
    expect(drawn(picker, { tried: [a], stayInTierOf: a })).toEqual([2]);
    expect(drawn(picker, { tried: [a, b], stayInTierOf: b })).toEqual([1]);
    expect(drawn(picker, { tried: [far], stayInTierOf: far })).toEqual([8]);
    expect(drawn(picker, { tried: [c], stayInTierOf: c }), "its tier is gone: the nearest").toEqual([1, 2]);
  });

  it("never takes a terminating endpoint while an active one is there, tried or not", () => {
    expect(drawn(new Picker([[a]], loads(9)), { tried: [a], leaveTierOf: a })).toEqual([1]);
    const [x, y] = loads(8, 9) as [EndpointLoad, EndpointLoad];
    expect(drawn(new Picker([], [x, y]), { tried: [x] })).toEqual([9]);
  });

  it("does not stumble over tried endpoints that are no longer there", () => {
    expect(drawn(new Picker([[a], [far]], []), { tried: [b, c], leaveTierOf: c })).toEqual([1]);
    expect(drawn(EMPTY_PICKER, { tried: [a], leaveTierOf: a })).toEqual([]);
  });

  it("tells where an endpoint stands", () => {
    const picker = new Picker([[a, b], [far]], [c]);
    expect([a, far, c].map((load) => picker.tierOf(load))).toEqual([0, 1, -1]);
    expect(picker.lastResort.map(idOf)).toEqual([3]);
  });
});
