import { describe, expect, it } from "vitest";
import { encodeBackend, encodeBackendKey } from "../../src/cilium/backend-map.js";
import { encodeReverseNat, encodeReverseNatKey } from "../../src/cilium/reverse-nat-map.js";
import { encodeServiceMaster, encodeServiceSlot, type ServiceMaster } from "../../src/cilium/service-map.js";
import type { FakeAnswer } from "../../src/kernel/fake-kernel.js";
import { stepBefore } from "../../src/kernel/fake-tears.js";
import { BpfRig, idsOf, OTHER_VIP, PINS, pods, serviceKey, type Told, VIP } from "../support/bpf-rig.js";

const POLL_MS = 250;
const master: ServiceMaster = {
  count: 3,
  qcount: 0,
  revNat: 1,
  flags: 0,
  algorithm: "node-default",
  affinityTimeoutS: 0,
  l7ProxyPort: undefined,
};
const backend = { address: "10.1.0.2", port: 8080, protocol: "tcp", state: "active", clusterId: 0, zone: 0 } as const;
const absent = (): FakeAnswer => "absent";

/** Service 1 with backends 1, 2 and 3, service 2 beside it with backends 4 and 5, and a watch that has its view. */
async function settled(): Promise<{ rig: BpfRig; told: Told }> {
  const rig = new BpfRig();
  rig.agent.setService(VIP, pods(1, 2, 3));
  rig.agent.setService(OTHER_VIP, pods(4, 5));
  const told = rig.watch();
  await rig.pass(20);
  expect(told.ids).toEqual([1, 2, 3]);
  told.clear();
  return { rig, told };
}

type Lie = readonly [path: string, key: Uint8Array, answer: () => FakeAnswer];

/** What the maps seem to hold, and what is said of it. */
const contradictions: Record<string, readonly [lie: Lie, reason: RegExp]> = {
  "the same backend twice": [
    [PINS.services, serviceKey(1), () => encodeServiceSlot({ backendId: 2, revNat: 1, flags: 0 })],
    /backend 2 stands in two slots/,
  ],
  "a slot of another frontend": [
    [PINS.services, serviceKey(2), () => encodeServiceSlot({ backendId: 4, revNat: 2, flags: 0 })],
    /slot 2 carries the reverse-NAT number 2, the master 1/,
  ],
  "the master of another frontend": [
    [PINS.services, serviceKey(0), () => encodeServiceMaster({ ...master, count: 2, revNat: 2 })],
    /reverse-NAT number 2 leads to 10\.96\.9\.9:80/,
  ],
  "a number that leads nowhere": [
    [PINS.services, serviceKey(0), () => encodeServiceMaster({ ...master, revNat: 77 })],
    /reverse-NAT number 77 leads nowhere/,
  ],
  "a master that is a slot": [
    [PINS.services, serviceKey(0), () => encodeServiceSlot({ backendId: 4, revNat: 2, flags: 0 })],
    /leads to 10\.96\.9\.9:80/,
  ],
  "a slot that is a master": [[PINS.services, serviceKey(3), () => encodeServiceMaster(master)], /backend_id is 0/],
  "more slots than there can be": [
    [PINS.services, serviceKey(0), () => encodeServiceMaster({ ...master, count: 65_535, qcount: 65_535 })],
    /the master counts 131070 slots/,
  ],
  "a backend of another protocol": [
    [PINS.backends, encodeBackendKey(2), () => encodeBackend({ ...backend, protocol: "udp" })],
    /backend 2 serves udp, not tcp/,
  ],
  "a backend in a state that is none": [
    [PINS.backends, encodeBackendKey(2), () => encodeBackend(backend).fill(77, 7, 8)],
    /state is 77/,
  ],
};

/** The same, for what may also be left by an agent that died. */
const gaps: Record<string, readonly [lie: Lie, reason: RegExp]> = {
  "a slot that names a missing backend": [
    [PINS.backends, encodeBackendKey(2), absent],
    /backend 2 of slot 2 is missing/,
  ],
  "fewer slots than the master counts": [[PINS.services, serviceKey(3), absent], /slot 3 of 3 is missing/],
  "a count larger than the slots": [
    [PINS.services, serviceKey(0), () => encodeServiceMaster({ ...master, count: 4 })],
    /slot 4 of 4 is missing/,
  ],
};

describe("entries that do not belong together", () => {
  it.each(Object.entries({ ...contradictions, ...gaps }))("are never adopted: %s", async (_, [lie, reason]) => {
    const { rig, told } = await settled();
    const undo = rig.lie(...lie);
    await rig.pass(2 * POLL_MS);
    expect(told.kinds, "told once, and no view").toEqual(["doubt"]);
    expect(told.ofKind("doubt")[0]?.reason).toMatch(reason);
    undo();
    await rig.pass(POLL_MS);
    expect(told.last?.kind).toBe("view");
    expect(told.ids).toEqual([1, 2, 3]);
  });

  it.each(Object.entries(contradictions))("are not adopted with time either: %s", async (_, [lie]) => {
    const { rig, told } = await settled();
    rig.lie(...lie);
    await rig.pass(20_000);
    expect(told.kinds).toEqual(["doubt"]);
  });

  it.each(Object.entries({ ...contradictions, ...gaps }))("keep the last view, with an event: %s", async (_, [lie]) => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2, 3));
    rig.agent.setService(OTHER_VIP, pods(4, 5));
    const view = rig.view();
    await rig.pass(20);
    const { snapshot } = view;
    const undo = rig.lie(...lie);
    await rig.pass(2 * POLL_MS);
    expect([view.state, view.snapshot]).toEqual(["stale", snapshot]);
    expect(rig.eventsOf("doubt")).toHaveLength(1);
    undo();
    await rig.pass(POLL_MS);
    expect([view.state, view.snapshot]).toEqual(["endpoints", snapshot]);
  });

  it.each(Object.entries(contradictions))(
    "let the service's own address be dialled without a view: %s",
    async (_, [lie]) => {
      const rig = new BpfRig();
      rig.agent.setService(VIP, pods(1, 2, 3));
      rig.agent.setService(OTHER_VIP, pods(4, 5));
      const undo = rig.lie(...lie);
      const view = rig.view();
      await rig.pass(POLL_MS);
      expect(view.state).toBe("service-address");
      expect(view.snapshot?.endpoints.map(({ address, kind }) => [address, kind])).toEqual([[VIP.address, "service"]]);
      undo();
      await rig.pass(POLL_MS);
      expect([view.state, idsOf(view.snapshot?.endpoints ?? [])]).toEqual(["endpoints", [1, 2, 3]]);
    },
  );

  it("name the field of malformed bytes, with the typed error", async () => {
    const { rig, told } = await settled();
    rig.lie(PINS.backends, encodeBackendKey(2), () => encodeBackend(backend).fill(77, 7, 8));
    await rig.pass(POLL_MS);
    expect(told.ofKind("doubt")[0]?.error).toMatchObject({ code: "ERR_ONEHOP_MALFORMED" });
  });
});

describe("a service that changes all the time", () => {
  it("keeps its last view, with a doubt", async () => {
    const { rig, told } = await settled();
    let reads = 0;
    rig.lie(PINS.backends, encodeBackendKey(2), () => {
      reads += 1;
      return encodeBackend({ ...backend, zone: (reads % 200) + 1 });
    });
    await rig.pass(POLL_MS);
    expect(told.updates).toEqual([{ kind: "doubt", reason: "the entries changed between two passes" }]);
  });

  it("needs two equal passes: a value that was read once is not adopted", async () => {
    const { rig, told } = await settled();
    for (const lie of [
      () => encodeBackend({ ...backend, address: "10.1.0.66" }),
      () => "absent" as const,
      () => encodeBackend({ ...backend, port: 9_999 }),
    ]) {
      let isFirst = true;
      const undo = rig.lie(PINS.backends, encodeBackendKey(2), () => {
        const answer = isFirst ? lie() : undefined;
        isFirst = false;
        return answer;
      });
      await rig.pass(4 * POLL_MS);
      undo();
      expect(isFirst).toBe(false);
    }
    expect(told.updates.every((update) => update.kind === "view")).toBe(true);
    expect(told.ids).toEqual([1, 2, 3]);
    expect(told.endpoints.every(({ port }) => port === 8080)).toBe(true);
  });

  it("is not absent for one look-up that missed its master", async () => {
    const { rig, told } = await settled();
    let missed = 0;
    rig.lie(PINS.services, serviceKey(0), () => {
      missed += 1;
      return missed === 1 ? "absent" : undefined;
    });
    await rig.pass(POLL_MS);
    expect(missed).toBeGreaterThan(1);
    expect(told.kinds).not.toContain("absent");
  });

  it("is read again when the reverse-NAT look-up was torn", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    rig.agent.setService(OTHER_VIP, pods(4));
    let reads = 0;
    rig.lie(PINS.reverseNat, encodeReverseNatKey(1), () => {
      reads += 1;
      return reads === 1 ? encodeReverseNat(OTHER_VIP) : undefined;
    });
    const told = rig.watch();
    await rig.pass(30);
    expect(told.kinds).toEqual(["view"]);
    expect(reads).toBe(2);
  });
});

describe("an agent that is in the middle of a change", () => {
  it.each(["1.17", "1.20"] as const)(
    "%s: at whatever write it stops, the view is one it had, and the next one follows when it goes on",
    async (version) => {
      const scenarios = [
        [pods(1, 2, 3), pods(2, 3, 4)],
        [pods(1, 2), pods(1, 2, 3, 4)],
        [pods(1, 2, 3, 4), pods(2)],
      ] as const;
      for (const [before, after] of scenarios) {
        const total = countSteps(version, before, after);
        for (let stop = 1; stop < total; stop += 1) {
          const rig = new BpfRig({ version });
          rig.agent.setService(VIP, before);
          const told = rig.watch();
          await rig.pass(20);
          const steps = rig.agent.serviceSteps(VIP, after)[Symbol.iterator]();
          for (let step = 0; step < stop; step += 1) steps.next();
          await rig.pass(2 * POLL_MS);
          const known = [...before, ...after].map(({ address }) => address);
          for (const { address } of told.endpoints) expect(known).toContain(address);
          expect(told.endpoints.length).toBeGreaterThan(0);
          expect(told.kinds).not.toContain("absent");
          while (steps.next().done !== true);
          await rig.pass(POLL_MS);
          expect(told.ids).toEqual(idsOf(told.endpoints));
          expect(told.endpoints.map(({ address }) => address).sort()).toEqual(after.map(({ address }) => address));
        }
      }
    },
  );

  it("that writes while a pass is under way is never seen half done", async () => {
    for (let at = 1; at <= 12; at += 1) {
      const { rig, told } = await settled();
      rig.kernel.beforeLookup(stepBefore(at, () => rig.agent.setService(VIP, pods(1, 2, 9))));
      await rig.pass(POLL_MS * 3);
      for (const update of told.ofKind("view"))
        expect([
          [1, 2, 3],
          [1, 2, 9],
        ]).toContainEqual(idsOf(update.endpoints));
      expect(told.ids).toEqual([1, 2, 9]);
    }
  });

  it("is noticed also when the master stays the same, byte for byte", async () => {
    const { rig, told } = await settled();
    rig.agent.setService(VIP, pods(1, 2, 9));
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1, 2, 9]);
    rig.agent.setService(VIP, pods(1, 2, 3));
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1, 2, 3]);
  });

  it("has deleted a frontend and made it anew: the entries of both are never mixed", async () => {
    const { rig, told } = await settled();
    const gone = [...rig.agent.deleteSteps(VIP)].length;
    expect(gone).toBeGreaterThan(3);
    rig.agent.setService(VIP, pods(7, 8));
    await rig.pass(POLL_MS);
    expect(told.kinds).not.toContain("absent");
    expect(told.ids).toEqual([7, 8]);
    for (const { backendId } of told.endpoints) expect(backendId).toBeGreaterThan(5);
  });

  it("slots beyond the count are left over and mean nothing", async () => {
    const { rig, told } = await settled();
    // The last thing an agent does on scaling down is to delete the surplus slots.
    const steps = rig.agent.serviceSteps(VIP, pods(1))[Symbol.iterator]();
    for (let next = steps.next(); next.value?.entry !== "master"; next = steps.next());
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1]);
  });
});

describe("an agent that died in the middle of a change", () => {
  it("leaves a gap: what is left beside it is adopted at the third poll that finds it", async () => {
    const { rig, told } = await settled();
    rig.lie(PINS.backends, encodeBackendKey(2), absent);
    await rig.pass(2 * POLL_MS);
    expect(told.kinds).toEqual(["doubt"]);
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1, 3]);
    told.clear();
    await rig.pass(5_000);
    expect(told.kinds, "the gap is no doubt any more").not.toContain("doubt");
  });

  it("takes nothing away when nothing is left beside the gaps", async () => {
    const { rig, told } = await settled();
    for (const id of [1, 2, 3]) rig.lie(PINS.backends, encodeBackendKey(id), absent);
    await rig.pass(20_000);
    expect(told.kinds).toEqual(["doubt"]);
  });

  it("counts polls of the same gap only", async () => {
    const { rig, told } = await settled();
    for (let round = 0; round < 4; round += 1) {
      for (const id of [1, 2]) {
        const undo = rig.lie(PINS.backends, encodeBackendKey(id), absent);
        await rig.pass(POLL_MS);
        undo();
      }
    }
    expect(told.kinds.every((kind) => kind === "doubt")).toBe(true);
  });

  it("missing entries of the tail, which takes no calls, are no gap", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, [...pods(1, 2), { address: "10.1.0.3", port: 8080, state: "terminating" }]);
    const told = rig.watch();
    rig.lie(PINS.backends, encodeBackendKey(3), absent);
    await rig.pass(20);
    expect(told.kinds).toEqual(["view"]);
    expect(told.ids).toEqual([1, 2]);
  });
});

describe("a master torn to a huge count", () => {
  it("does not cost tens of thousands of look-ups, and does no lasting harm", async () => {
    const { rig, told } = await settled();
    const undo = rig.lie(PINS.services, serviceKey(0), () => encodeServiceMaster({ ...master, count: 60_000 }));
    const before = rig.lookups;
    await rig.pass(POLL_MS);
    expect(rig.lookups - before).toBeLessThan(2_000);
    expect(told.kinds).toEqual(["doubt"]);
    undo();
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1, 2, 3]);
    expect(told.last?.kind).toBe("view");
  });

  it("nor does a look-up that failed in the middle of a pass", async () => {
    const { rig, told } = await settled();
    const undo = rig.lie(PINS.services, serviceKey(2), () => {
      throw new Error("out of memory");
    });
    await rig.pass(POLL_MS);
    expect(told.kinds).toEqual(["unavailable"]);
    undo();
    await rig.pass(3_000);
    expect(told.last?.kind).toBe("view");
    expect(told.ids).toEqual([1, 2, 3]);
  });
});

function countSteps(version: "1.17" | "1.20", before: ReturnType<typeof pods>, after: ReturnType<typeof pods>): number {
  const { agent } = new BpfRig({ version });
  agent.setService(VIP, before);
  return [...agent.serviceSteps(VIP, after)].length;
}
