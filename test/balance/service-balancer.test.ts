import { describe, expect, it } from "vitest";
import { FIRST_PICK } from "../../src/balance/picker.js";
import { ServiceBalancer, type ServiceBalancerOptions } from "../../src/balance/service-balancer.js";
import type { Endpoint } from "../../src/model/endpoint.js";
import type { MeshEventOf } from "../../src/model/event.js";
import { nextSnapshot } from "../../src/model/snapshot.js";
import type { LocalCluster } from "../../src/policy/locality-tiers.js";
import { seededRandom } from "../../src/random.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

class BalancerRig {
  readonly drained: string[] = [];
  readonly mismatches: MeshEventOf<"identity-mismatch">[] = [];
  readonly balancer: ServiceBalancer;
  local: LocalCluster | undefined = { number: 1, name: undefined };

  constructor(options: Partial<ServiceBalancerOptions> = {}) {
    this.balancer = new ServiceBalancer({
      service: "quotes.energy",
      order: ["local", "*"],
      expectIdentity: undefined,
      localCluster: () => this.local,
      notify: (event) => {
        if (event.type === "identity-mismatch") this.mismatches.push(event);
      },
      onDrain: (key) => this.drained.push(key),
      ...options,
    });
  }

  adopt(endpoints: readonly Endpoint[]): void {
    this.balancer.adopt(nextSnapshot(this.balancer.snapshot, "test", endpoints));
  }

  /** Ids by tier. */
  get tiers(): number[][] {
    return this.balancer.picker.tiers.map((tier) => tier.map(({ endpoint }) => endpoint.backendId));
  }

  /** Ids that are picked in 100 draws, sorted. */
  get picked(): number[] {
    const random = seededRandom(9);
    const ids = Array.from(
      { length: 100 },
      () => this.balancer.picker.pick(FIRST_PICK, 0, random)?.endpoint.backendId ?? 0,
    );
    return [...new Set(ids)].sort((a, b) => a - b);
  }

  load(id: number) {
    const found = this.balancer.loads.find(({ endpoint }) => endpoint.backendId === id);
    if (found === undefined) throw new Error(`no endpoint ${id}`);
    return found;
  }
}

const withIdentity = (id: number, number: number | undefined): Endpoint =>
  makeEndpoint(id, { clusterNumber: 1 }, number === undefined ? undefined : { number, labels: undefined });
const local = (id: number): Endpoint => makeEndpoint(id, { clusterNumber: 1 });

describe("a view that is adopted", () => {
  it("becomes tiers by cluster, and a last resort of what terminates", () => {
    const rig = new BalancerRig();
    rig.adopt([
      local(1),
      makeEndpoint(2, { clusterNumber: 2 }),
      { ...local(3), state: "terminating" },
      { ...local(4), state: "quarantined" },
      { ...local(5), state: "maintenance" },
    ]);
    expect(rig.tiers).toEqual([[1], [2]]);
    expect(rig.balancer.picker.lastResort.map(({ endpoint }) => endpoint.backendId)).toEqual([3]);
    expect(rig.balancer.loads.map(({ endpoint }) => endpoint.backendId)).toEqual([1, 2, 3, 4, 5]);
  });

  it("T-48: a thousand times the same set changes nothing: no pick, no history, no drain", () => {
    const rig = new BalancerRig();
    const endpoints = Array.from({ length: 9 }, (_, id) => local(id + 1));
    rig.adopt(endpoints);
    const { picker } = rig.balancer;
    for (const load of rig.balancer.loads) {
      load.begin();
      load.answered(true, 7, 0);
    }
    for (let round = 0; round < 1_000; round += 1) rig.adopt(endpoints.map((endpoint) => ({ ...endpoint })));
    expect(rig.balancer.picker).toBe(picker);
    expect(rig.drained).toEqual([]);
    expect(rig.balancer.loads.map(({ inflight, picks }) => [inflight, picks])).toEqual(endpoints.map(() => [1, 1]));
  });

  it("T-48: one that is added leaves the nine others with their history", () => {
    const rig = new BalancerRig();
    const nine = Array.from({ length: 9 }, (_, id) => local(id + 1));
    rig.adopt(nine);
    const before = rig.balancer.loads;
    for (const load of before) load.answered(true, 7, 0);
    rig.adopt([...nine, local(10)]);
    for (const load of before) expect(rig.load(load.endpoint.backendId)).toBe(load);
    expect(before.map((load) => load.latencyMs(0))).toEqual(nine.map(() => 7));
    expect(rig.load(10).latencyMs(0)).toBeUndefined();
    expect(rig.drained).toEqual([]);
  });

  it("keeps the loads in the order of the view", () => {
    const rig = new BalancerRig();
    rig.adopt([local(2), local(3)]);
    rig.adopt([local(1), local(2), local(3)]);
    expect(rig.balancer.loads.map(({ endpoint }) => endpoint.backendId)).toEqual([1, 2, 3]);
  });

  it("T-43: a new backend id under the same address is another pod: fresh, and the old connections drain", () => {
    const rig = new BalancerRig();
    rig.adopt([local(1)]);
    rig.load(1).answered(true, 500, 0);
    rig.load(1).failed(0);
    const [{ key } = { key: "" }] = rig.balancer.snapshot?.endpoints ?? [];
    const next = { ...local(1), backendId: 9, key: "9@10.0.0.1:8080" };
    rig.adopt([next]);
    expect(rig.drained).toEqual([key]);
    expect([rig.load(9).latencyMs(0), rig.load(9).successRate(0), rig.load(9).picks]).toEqual([undefined, 1, 0]);
  });

  it("T-43: a relabelled pod keeps its history and its connections", () => {
    const rig = new BalancerRig();
    rig.adopt([withIdentity(1, 70_000)]);
    const load = rig.load(1);
    load.answered(true, 5, 0);
    rig.adopt([withIdentity(1, 70_001)]);
    expect(rig.load(1)).toBe(load);
    expect([load.endpoint.identity?.number, load.latencyMs(0), rig.drained]).toEqual([70_001, 5, []]);
  });

  it("drains what leaves, what stops being active, and nothing else", () => {
    const rig = new BalancerRig();
    rig.adopt([local(1), local(2), local(3), local(4)]);
    rig.adopt([local(1), { ...local(2), state: "terminating" }, { ...local(3), state: "quarantined" }]);
    expect([...rig.drained].sort()).toEqual([local(2).key, local(3).key, local(4).key]);
    rig.drained.length = 0;
    rig.adopt([local(1), { ...local(2), state: "quarantined" }, local(3)]);
    expect(rig.drained).toEqual([]);
  });

  it("lets calls that run on a removed endpoint end", () => {
    const rig = new BalancerRig();
    rig.adopt([local(1)]);
    const load = rig.load(1);
    load.begin();
    rig.adopt([]);
    expect([rig.balancer.picker.isEmpty, rig.balancer.loads]).toEqual([true, []]);
    load.end();
    expect(load.inflight).toBe(0);
  });

  it("replaces the picker and never changes one: a pick under way sees one view", () => {
    const rig = new BalancerRig();
    rig.adopt([local(1)]);
    const { picker } = rig.balancer;
    rig.adopt([local(2)]);
    expect(picker.tiers[0]?.map(({ endpoint }) => endpoint.backendId)).toEqual([1]);
    expect(rig.tiers).toEqual([[2]]);
  });
});

describe("the own cluster", () => {
  it("may become known after the view: the tiers follow, with the history", () => {
    const rig = new BalancerRig();
    rig.local = undefined;
    rig.adopt([local(1), makeEndpoint(2, { clusterNumber: 2 })]);
    expect(rig.tiers).toEqual([[1, 2]]);
    const load = rig.load(1);
    rig.local = { number: 1, name: undefined };
    rig.balancer.noticeLocalCluster();
    expect(rig.tiers).toEqual([[1], [2]]);
    expect([rig.load(1) === load, rig.drained]).toEqual([true, []]);
    const { picker } = rig.balancer;
    rig.balancer.noticeLocalCluster();
    expect(rig.balancer.picker).toBe(picker);
  });

  it("is asked for without a view, too", () => {
    const rig = new BalancerRig();
    rig.balancer.noticeLocalCluster();
    expect(rig.balancer.picker.isEmpty).toBe(true);
  });
});

describe("an expected identity", () => {
  const EXPECTED = 70_000;
  const OTHER = 80_000;

  it("T-43: a pod with another one gets no new calls, its connections drain, and that is told once", () => {
    const rig = new BalancerRig({ expectIdentity: { numbers: [EXPECTED] } });
    rig.adopt([withIdentity(1, EXPECTED), withIdentity(2, EXPECTED), withIdentity(3, EXPECTED)]);
    expect(rig.picked).toEqual([1, 2, 3]);
    rig.adopt([withIdentity(1, EXPECTED), withIdentity(2, OTHER), withIdentity(3, EXPECTED)]);
    expect(rig.picked).toEqual([1, 3]);
    expect([rig.drained, rig.balancer.isRefused(withIdentity(2, OTHER).key)]).toEqual([
      [withIdentity(2, OTHER).key],
      true,
    ]);
    rig.adopt([
      withIdentity(1, EXPECTED),
      withIdentity(2, OTHER),
      withIdentity(3, EXPECTED),
      withIdentity(4, EXPECTED),
    ]);
    expect(rig.mismatches).toMatchObject([{ service: "quotes.energy", identity: OTHER, obeyed: true }]);
    expect(rig.mismatches[0]?.endpoint.backendId).toBe(2);
    expect(rig.drained).toHaveLength(1);
  });

  it("is told again when it came back in between, or is another one", () => {
    const rig = new BalancerRig({ expectIdentity: { numbers: [EXPECTED] } });
    const rest = [withIdentity(1, EXPECTED), withIdentity(3, EXPECTED)];
    for (const identity of [OTHER, EXPECTED, OTHER, OTHER + 1]) rig.adopt([...rest, withIdentity(2, identity)]);
    expect(rig.mismatches.map(({ identity }) => identity)).toEqual([OTHER, OTHER, OTHER + 1]);
    rig.adopt([...rest, withIdentity(2, EXPECTED)]);
    expect([rig.picked, rig.balancer.isRefused(withIdentity(2, EXPECTED).key)]).toEqual([[1, 2, 3], false]);
  });

  it("T-43: what is not known is called", () => {
    const rig = new BalancerRig({ expectIdentity: { numbers: [EXPECTED] } });
    rig.adopt([withIdentity(1, EXPECTED), withIdentity(2, undefined)]);
    expect([rig.picked, rig.mismatches]).toEqual([[1, 2], []]);
  });

  it("that most pods mismatch is reported, not obeyed", () => {
    const rig = new BalancerRig({ expectIdentity: { numbers: [EXPECTED] } });
    rig.adopt([withIdentity(1, OTHER), withIdentity(2, OTHER), withIdentity(3, EXPECTED)]);
    expect(rig.picked).toEqual([1, 2, 3]);
    expect(rig.mismatches.map(({ obeyed, endpoint }) => [endpoint.backendId, obeyed])).toEqual([
      [1, false],
      [2, false],
    ]);
    expect(rig.drained).toEqual([]);
  });

  it("is obeyed to the last pod where it is strict", () => {
    const rig = new BalancerRig({ expectIdentity: { numbers: [EXPECTED], strict: true } });
    rig.adopt([withIdentity(1, OTHER), withIdentity(2, OTHER)]);
    expect(rig.balancer.picker.isEmpty).toBe(true);
    expect(rig.mismatches.map(({ obeyed }) => obeyed)).toEqual([true, true]);
  });

  it("holds for terminating pods as well", () => {
    const rig = new BalancerRig({ expectIdentity: { numbers: [EXPECTED] } });
    rig.adopt([{ ...withIdentity(1, OTHER), state: "terminating" }]);
    expect(rig.balancer.picker.isEmpty).toBe(true);
  });
});
