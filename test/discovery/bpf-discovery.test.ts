import { describe, expect, it } from "vitest";
import { encodeBackend, encodeBackendKey } from "../../src/cilium/backend-map.js";
import { IPCACHE_MAPS, lbMaps } from "../../src/cilium/cilium-maps.js";
import type { CiliumVersionName } from "../../src/cilium/cilium-versions.js";
import { encodeServiceMaster } from "../../src/cilium/service-map.js";
import { bpfDiscovery } from "../../src/discovery/bpf-discovery.js";
import { createFakeKernel } from "../../src/kernel/fake-kernel.js";
import type { KernelReason } from "../../src/kernel/kernel.js";
import { BpfRig, DIRECTORY, OTHER_VIP, OWN_ADDRESS, PINS, pods, serviceKey, VIP } from "../support/bpf-rig.js";
import { ManualClock } from "../support/manual-clock.js";

const POLL_MS = 250;
const VERSIONS: CiliumVersionName[] = ["1.13", "1.14", "1.15", "1.16", "1.17", "1.18", "1.19", "1.20"];
const NAMES = { clusters: { 1: "eu-west-1", 2: "gke-eu" }, zones: { 4: "eu-west-1a" } };

describe("a view of the maps", () => {
  it.each(VERSIONS)("as Cilium %s writes them: state, identity, cluster, zone, node", async (version) => {
    const rig = new BpfRig({ version, ...NAMES });
    rig.agent.setIdentity(OWN_ADDRESS, rig.agent.identityIn(1, 300));
    rig.agent.setIdentity("10.1.0.1", rig.agent.identityIn(1, 500));
    rig.agent.setIdentity("10.1.0.2", rig.agent.identityIn(2, 500), { node: "172.18.0.5" });
    rig.agent.setIdentity("10.1.0.3", rig.agent.identityIn(3, 500));
    rig.agent.setService(VIP, [
      { address: "10.1.0.1", port: 8080, zone: 4 },
      { address: "10.1.0.2", port: 8080, zone: 9 },
      { address: "10.1.0.3", port: 8081 },
    ]);
    const told = rig.watch();
    await rig.pass(20);
    expect(told.kinds).toEqual(["view"]);
    const isZoned = Number(version.slice(2)) >= 16;
    expect(told.endpoints).toEqual([
      {
        key: "1@10.1.0.1:8080",
        backendId: 1,
        address: "10.1.0.1",
        port: 8080,
        family: 4,
        state: "active",
        identity: { number: rig.agent.identityIn(1, 500), labels: undefined },
        locality: {
          clusterNumber: 1,
          cluster: "eu-west-1",
          zone: isZoned ? "eu-west-1a" : undefined,
          node: undefined,
        },
        kind: "pod",
      },
      expect.objectContaining({
        key: "2@10.1.0.2:8080",
        locality: { clusterNumber: 2, cluster: "gke-eu", zone: isZoned ? "#9" : undefined, node: "172.18.0.5" },
      }),
      expect.objectContaining({
        key: "3@10.1.0.3:8081",
        locality: { clusterNumber: 3, cluster: undefined, zone: undefined, node: undefined },
      }),
    ]);
    expect(rig.discovery.localCluster()).toEqual({ number: 1, name: "eu-west-1" });
  });

  it("with 511 clusters reads the cluster from other bits", async () => {
    const rig = new BpfRig({ maxConnectedClusters: 511 });
    const identity = (300 << 15) | 1_234;
    rig.agent.setIdentity("10.1.0.1", identity);
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints[0]?.locality.clusterNumber).toBe(300);
  });

  it("of an IPv6 frontend", async () => {
    const rig = new BpfRig();
    rig.addresses = ["fd00::a"];
    rig.agent.setService({ address: "fd00::a", port: 80 }, [{ address: "fd00:1::5", port: 8443 }]);
    rig.agent.setIdentity("fd00:1::5", rig.agent.identityIn(2, 500));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints[0]).toMatchObject({
      key: "1@[fd00:1::5]:8443",
      family: 6,
      locality: { clusterNumber: 2 },
    });
  });

  it("tells terminating and quarantined backends by their state, and those in maintenance not at all", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, [
      ...pods(1),
      { address: "10.1.0.2", port: 8080, state: "terminating" },
      { address: "10.1.0.3", port: 8080, state: "quarantined" },
      { address: "10.1.0.4", port: 8080, state: "maintenance" },
    ]);
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints.map(({ address, state }) => [address, state])).toEqual([
      ["10.1.0.1", "active"],
      ["10.1.0.2", "terminating"],
      ["10.1.0.3", "quarantined"],
    ]);
  });

  it("of terminating backends only, which Cilium counts then", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, [{ address: "10.1.0.2", port: 8080, state: "terminating" }]);
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints.map(({ state }) => state)).toEqual(["terminating"]);
  });

  it("takes active backends behind the counted slots for such that get no calls", async () => {
    const rig = new BpfRig({ version: "1.17" });
    rig.agent.setService(VIP, [...pods(1), { address: "10.1.0.2", port: 8080, isPreferred: false }]);
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints.map(({ state }) => state)).toEqual(["active", "quarantined"]);
  });

  it("is empty when nothing of it may be called", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, [{ address: "10.1.0.2", port: 8080, state: "quarantined" }]);
    const told = rig.watch();
    await rig.pass(20);
    expect(told.updates).toEqual([{ kind: "view", endpoints: [] }]);
  });

  it("holds thousands of pods", async () => {
    const rig = new BpfRig();
    const many = Array.from({ length: 3_000 }, (_, id) => ({ address: `10.2.${id >> 8}.${id & 255}`, port: 80 }));
    rig.agent.setService(VIP, many);
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints).toHaveLength(3_000);
    expect(new Set(told.endpoints.map(({ address }) => address)).size).toBe(3_000);
  });
});

describe("which entries are read", () => {
  it("those of the exact protocol before those of any", async () => {
    const rig = new BpfRig();
    rig.agent.setService({ ...VIP, protocol: "any" }, pods(5));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.ids).toEqual([5]);
    rig.agent.setService(VIP, pods(1));
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1]);
    rig.agent.deleteService(VIP);
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([5]);
  });

  it("not those of another protocol", async () => {
    const rig = new BpfRig();
    rig.agent.setService({ ...VIP, protocol: "udp" }, pods(5));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.kinds).toEqual(["absent"]);
  });

  it("not the wildcard of the address, which only drops traffic to unknown ports", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const wildcard = serviceKey(0, { port: 0, protocol: "any" });
    const seen: unknown[] = [];
    rig.lie(PINS.services, wildcard, () => {
      seen.push("read");
      return undefined;
    });
    const told = rig.watch(81);
    await rig.pass(20);
    expect(told.updates).toEqual([{ kind: "absent", reason: "no frontend 10.96.7.7:81 in the maps" }]);
    expect(seen).toEqual([]);
  });

  it("those of the inside where a frontend has two scopes", async () => {
    const rig = new BpfRig();
    rig.agent.setService({ ...VIP, flags: ["twoScopes", "externalLocal", "loadBalancer"] }, pods(1));
    rig.agent.setService({ ...VIP, scope: "internal", flags: ["twoScopes"] }, pods(1, 2, 3));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.ids).toEqual([1, 2, 3]);
  });

  it("none where the inside of two scopes is missing, as in Cilium's datapath", async () => {
    const rig = new BpfRig();
    rig.agent.setService({ ...VIP, flags: ["twoScopes"] }, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.kinds).toEqual(["absent"]);
  });

  it("those of the first address that is a frontend", async () => {
    const rig = new BpfRig();
    rig.addresses = ["10.96.1.1", VIP.address];
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.ids).toEqual([1]);
  });
});

describe("a frontend that Cilium hands to its L7 proxy", () => {
  const proxied = { ...VIP, flags: ["l7Proxy"] as const, l7ProxyPort: 10_000 };

  it("is dialled by its own address, also after a moment of doubt, and never empty", async () => {
    const rig = new BpfRig();
    rig.agent.setService(proxied, pods(1, 2));
    const view = rig.view();
    await rig.pass(POLL_MS);
    expect([view.state, view.reason]).toEqual([
      "service-address",
      `Cilium hands ${VIP.address}:${VIP.port} to its L7 proxy`,
    ]);
    const undo = rig.lie(PINS.backends, encodeBackendKey(2), () => "absent");
    await rig.pass(2 * POLL_MS);
    undo();
    await rig.pass(2 * POLL_MS);
    rig.addresses = new Error("DNS is away");
    await rig.pass(2 * POLL_MS);
    rig.addresses = [VIP.address];
    await rig.pass(30_000);
    expect(view.state).toBe("service-address");
    expect(rig.eventsOf("discovery").map(({ state }) => state)).toEqual(["service-address"]);
  });

  it("comes and goes with the flag", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    const view = rig.view();
    await rig.pass(POLL_MS);
    rig.agent.setService(proxied, pods(1, 2));
    await rig.pass(2 * POLL_MS);
    rig.agent.setService(VIP, pods(1, 2));
    await rig.pass(2 * POLL_MS);
    expect(rig.eventsOf("discovery").map(({ state }) => state)).toEqual(["endpoints", "service-address", "endpoints"]);
    expect(view.snapshot?.endpoints.map(({ kind }) => kind)).toEqual(["pod", "pod"]);
  });

  it("is dialled by its pods where that is wanted", async () => {
    const rig = new BpfRig({ l7Proxy: "pods" });
    rig.agent.setService(proxied, pods(1, 2));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.ids).toEqual([1, 2]);
  });
});

describe("identities", () => {
  it("are kept while the ipcache lags, and a covering prefix counts as unknown", async () => {
    const rig = new BpfRig(NAMES);
    rig.agent.setIdentity("0.0.0.0", 2, { prefixLength: 0 });
    rig.agent.setIdentity("10.1.0.1", rig.agent.identityIn(2, 500), { node: "172.18.0.5" });
    rig.agent.setService(VIP, pods(1, 2));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints.map(({ identity }) => identity?.number)).toEqual([rig.agent.identityIn(2, 500), undefined]);
    expect(told.endpoints[1]?.locality.clusterNumber).toBeUndefined();
    const [before] = told.endpoints;
    rig.agent.deleteIdentity("10.1.0.1");
    await rig.pass(5_000);
    expect(told.endpoints[0]).toEqual(before);
    rig.agent.setIdentity("10.1.0.2", rig.agent.identityIn(1, 501));
    await rig.pass(1_500);
    expect(told.endpoints[1]).toMatchObject({ locality: { cluster: "eu-west-1" } });
  });

  it("T-43: change under a relabelled pod whose key stays; a new backend id under the same address is a new key", async () => {
    const rig = new BpfRig();
    rig.agent.setIdentity("10.1.0.1", rig.agent.identityIn(1, 500));
    rig.agent.setService(VIP, pods(1, 2));
    const told = rig.watch();
    await rig.pass(20);
    const [{ key } = { key: "" }] = told.endpoints;
    rig.agent.setIdentity("10.1.0.1", rig.agent.identityIn(1, 600));
    await rig.pass(1_500);
    expect(told.endpoints[0]).toMatchObject({ key, identity: { number: rig.agent.identityIn(1, 600) } });
    rig.agent.setService(VIP, pods(2));
    rig.agent.setService(VIP, pods(1, 2));
    await rig.pass(POLL_MS);
    expect(told.endpoints[0]?.address).toBe("10.1.0.1");
    expect(told.endpoints[0]?.key).not.toBe(key);
  });

  it("are read from the older ipcache where there is no newer one, and from the newer one from when it comes", async () => {
    const rig = new BpfRig({ version: "1.17" });
    rig.agent.setIdentity("10.1.0.1", 70_000);
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints[0]?.identity?.number).toBe(70_000);
    const [newer] = IPCACHE_MAPS;
    rig.kernel.pin(rig.kernel.create(newer.pin, { ...newer.shape, maxEntries: 10 }), `${DIRECTORY}/${newer.pin}`);
    await rig.pass(3_000);
    expect(rig.kernel.openReaders(`${DIRECTORY}/${newer.pin}`)).toBe(1);
    expect(rig.kernel.openReaders(`${DIRECTORY}/cilium_ipcache`)).toBe(0);
    expect(told.endpoints[0]?.identity?.number, "the old one is kept until the new one knows").toBe(70_000);
  });

  it("that cannot be read are unknown, with a warning, and the view is there nevertheless", async () => {
    const rig = new BpfRig();
    rig.kernel.failOpen(`${DIRECTORY}/cilium_ipcache_v2`, "file-mode");
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.endpoints[0]?.identity).toBeUndefined();
    expect(rig.eventsOf("warning")[0]?.message).toMatch(/^identities cannot be read: /);
  });

  it("tell the own cluster as soon as the ipcache knows the own address", async () => {
    const rig = new BpfRig(NAMES);
    rig.agent.setService(VIP, pods(1));
    rig.watch();
    await rig.pass(20);
    expect(rig.discovery.localCluster()).toBeUndefined();
    rig.agent.setIdentity(OWN_ADDRESS, rig.agent.identityIn(2, 300));
    await rig.pass(1_500);
    expect(rig.discovery.localCluster()).toEqual({ number: 2, name: "gke-eu" });
  });
});

describe("maps that are pinned anew", () => {
  it.each([false, true])("are opened again; endpoints keep their keys (renumbered ids: %s)", async (renumber) => {
    const rig = new BpfRig();
    rig.agent.setService(OTHER_VIP, pods(9));
    rig.agent.setService(VIP, pods(1, 2, 3));
    const told = rig.watch();
    await rig.pass(20);
    const keys = told.endpoints.map(({ key }) => key);
    const readers = rig.openReaders;
    rig.agent.deleteService(OTHER_VIP);
    rig.agent.replaceMaps({ renumber });
    await rig.pass(2_000);
    expect(told.endpoints.map(({ key }) => key)).toEqual(keys);
    expect(told.endpoints[0]?.backendId === 1).toBe(renumber);
    rig.agent.setService(VIP, pods(1, 2, 3, 4));
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1, 2, 3, 4]);
    expect(told.endpoints.slice(0, 3).map(({ key }) => key)).toEqual(keys);
    expect(rig.eventsOf("reopen").length).toBeGreaterThan(0);
    expect(rig.openReaders, "the old ones are closed").toBe(readers);
  });

  it("keep the last view while they are filled", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    const view = rig.view();
    await rig.pass(20);
    rig.agent.replaceMaps({ refill: false });
    await rig.pass(30_000);
    expect([view.state, view.snapshot?.endpoints.length]).toEqual(["stale", 2]);
    rig.agent.refill();
    await rig.pass(3_000);
    expect([view.state, view.snapshot?.endpoints.length]).toEqual(["endpoints", 2]);
  });

  it("T-49: a pin that is gone, as while an agent restarts, changes nothing", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    const view = rig.view();
    await rig.pass(20);
    for (const path of Object.values(PINS)) rig.kernel.unpin(path);
    await rig.pass(30_000);
    expect([view.state, view.snapshot?.endpoints.length]).toEqual(["endpoints", 2]);
  });
});

describe("maps that cannot be read", () => {
  const reasons: KernelReason[] = ["no-koffi", "no-bpffs", "no-pin", "file-mode", "seccomp", "capability", "layout"];

  it.each(reasons)(
    "for %s: the service address is called, the state says why, and the view comes when it can",
    async (reason) => {
      const rig = new BpfRig();
      rig.agent.setService(VIP, pods(1));
      rig.kernel.failOpen(PINS.backends, reason);
      const view = rig.view();
      await rig.pass(POLL_MS);
      expect(view.state).toBe("service-address");
      expect(view.error).toMatchObject({ code: "ERR_ONEHOP_KERNEL", reason });
      expect(rig.eventsOf("discovery")[0]).toMatchObject({ state: "service-address", error: view.error });
      rig.kernel.allowOpen(PINS.backends);
      await rig.pass(3_000);
      expect(view.state).toBe("endpoints");
      await rig.discovery.close();
      expect(rig.openReaders).toBe(0);
    },
  );

  it("of one family only are no matter where the service is in the other", async () => {
    const rig = new BpfRig();
    rig.addresses = ["fd00::a", VIP.address];
    rig.kernel.failOpen(`${DIRECTORY}/${lbMaps(6).services.pin}`, "no-pin");
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    expect(told.ids).toEqual([1]);
  });

  it("are not taken for a service that is gone when another address has none", async () => {
    const rig = new BpfRig();
    rig.addresses = [VIP.address, "fd00::a"];
    rig.agent.setService(VIP, pods(1));
    const view = rig.view(100);
    await rig.pass(20);
    rig.lie(PINS.services, serviceKey(0), () => {
      throw new Error("EIO");
    });
    await rig.pass(5_000);
    expect([view.state, view.reason, view.snapshot?.endpoints.length]).toEqual(["stale", "EIO", 1]);
  });

  it("and no name either: the view says so with a typed error", async () => {
    const rig = new BpfRig();
    rig.addresses = new Error("no such name");
    const view = rig.view();
    await rig.pass(POLL_MS);
    expect(view.state).toBe("unavailable");
    expect(view.error).toMatchObject({ code: "ERR_ONEHOP_DISCOVERY_UNAVAILABLE", cause: rig.addresses });
    rig.addresses = [VIP.address];
    rig.agent.setService(VIP, pods(1));
    await rig.pass(3_000);
    expect(view.state).toBe("endpoints");
  });
});

describe("the name of a service", () => {
  it("that cannot be resolved any more does not blind the view", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(20);
    rig.addresses = new Error("SERVFAIL");
    rig.agent.setService(VIP, pods(1, 2));
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1, 2]);
    expect(told.kinds).not.toContain("unavailable");
  });

  it("that resolves to another address leads to that frontend, and back", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    rig.agent.setService(OTHER_VIP, pods(2));
    const told = rig.watch();
    await rig.pass(20);
    rig.addresses = [OTHER_VIP.address];
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([2]);
    rig.addresses = [VIP.address];
    await rig.pass(POLL_MS);
    expect(told.ids).toEqual([1]);
    expect(told.kinds).not.toContain("absent");
  });

  it("keeps to the frontend it follows when another address comes to it", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    rig.agent.setService(OTHER_VIP, pods(2));
    const told = rig.watch();
    await rig.pass(20);
    rig.addresses = [OTHER_VIP.address, VIP.address];
    await rig.pass(2_000);
    expect(told.ids).toEqual([1]);
  });

  it("whose service and name are deleted: grace, then a typed error, not calls to what was given up", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const view = rig.view(5_000);
    await rig.pass(20);
    rig.agent.deleteService(VIP);
    rig.addresses = new Error("no such name");
    await rig.pass(4_000);
    expect([view.state, view.snapshot?.endpoints.length]).toEqual(["stale", 1]);
    await rig.pass(2_000);
    expect([view.state, view.snapshot?.endpoints.length]).toEqual(["unavailable", 0]);
    expect(view.error).toMatchObject({ code: "ERR_ONEHOP_DISCOVERY_UNAVAILABLE" });
  });
});

describe("how often the maps are read", () => {
  it("a poll of what has not changed is one pass", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2, 3, 4, 5));
    const told = rig.watch();
    await rig.pass(20);
    const before = rig.lookups;
    await rig.pass(POLL_MS);
    // The master, five slots, five backends.
    expect(rig.lookups - before).toBe(11);
    expect(rig.kernel.lookupCount(PINS.reverseNat)).toBe(1);
    expect(told.updates).toHaveLength(1);
  });

  it("services that are not called are looked at less often, until they are called again", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    const looksIn = async (ms: number): Promise<number> => {
      const before = rig.kernel.lookupCount(PINS.backends);
      await rig.pass(ms);
      return rig.kernel.lookupCount(PINS.backends) - before;
    };
    await rig.pass(20);
    expect(await looksIn(8_000)).toBe(32);
    await rig.pass(3_000);
    expect(await looksIn(8_000)).toBe(4);
    told.watch.touch();
    expect(await looksIn(8_000)).toBe(32);
  });

  it("nothing is read for nobody", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(1_000);
    told.watch.close();
    await rig.pass(POLL_MS);
    const before = rig.lookups;
    await rig.pass(60_000);
    expect([rig.lookups - before, rig.clock.timerCount]).toEqual([0, 0]);
    const again = rig.watch();
    await rig.pass(1_000);
    expect(again.ids).toEqual([1]);
  });

  it("refresh() looks at once", async () => {
    const rig = new BpfRig({ pollMs: 10_000 });
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(100);
    rig.agent.setService(VIP, pods(1, 2));
    told.watch.refresh();
    await rig.pass(5);
    expect(told.ids).toEqual([1, 2]);
  });

  it("however often refresh() is called, looks are 20 ms apart", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(100);
    const before = rig.kernel.lookupCount(PINS.backends);
    for (let ms = 0; ms < 1_000; ms += 1) {
      for (let call = 0; call < 20; call += 1) told.watch.refresh();
      await rig.pass(1);
    }
    const looks = rig.kernel.lookupCount(PINS.backends) - before;
    // The four polls come on top.
    expect(looks).toBeLessThanOrEqual(55);
    expect(looks).toBeGreaterThan(40);
  });

  it("a refresh() in the middle of a look is followed by another look", async () => {
    const rig = new BpfRig({ pollMs: 10_000 });
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    await rig.pass(1);
    told.watch.refresh();
    await rig.pass(1);
    const before = rig.kernel.lookupCount(PINS.backends);
    await rig.pass(100);
    expect(told.ids).toEqual([1]);
    expect(rig.kernel.lookupCount(PINS.backends)).toBeGreaterThan(before);
    rig.agent.setService(VIP, pods(1, 2));
    await rig.pass(1_000);
    expect(told.ids, "and by no more than one").toEqual([1]);
  });

  it("all its timers are in the background", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    for (let ms = 0; ms < 600; ms += 1) {
      told.watch.refresh();
      await rig.pass(1);
      expect(rig.clock.foregroundTimerCount).toBe(0);
    }
  });
});

describe("knows()", () => {
  it("a frontend, and nothing else", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const ask = async (port: number): Promise<boolean> => {
      const answer = rig.discovery.knows(rig.target(port));
      await rig.pass(50);
      return answer;
    };
    expect([await ask(80), await ask(81)]).toEqual([true, false]);
    rig.agent.setService(VIP, []);
    expect(await ask(80), "a service without pods is one").toBe(true);
    rig.addresses = ["192.0.2.1"];
    expect(await ask(80)).toBe(false);
  });

  it("a frontend whose entries are in doubt", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    rig.lie(PINS.services, serviceKey(1), () =>
      encodeServiceMaster({
        count: 1,
        qcount: 0,
        revNat: 1,
        flags: 0,
        algorithm: "random",
        affinityTimeoutS: 0,
        l7ProxyPort: undefined,
      }),
    );
    const answer = rig.discovery.knows(rig.target());
    await rig.pass(50);
    expect(await answer).toBe(true);
  });

  it("is not fooled by one look-up that missed", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    let reads = 0;
    rig.lie(PINS.services, serviceKey(0), () => {
      reads += 1;
      return reads === 1 ? "absent" : undefined;
    });
    const answer = rig.discovery.knows(rig.target());
    await rig.pass(50);
    expect(await answer).toBe(true);
  });

  it("rejects when the maps or the name cannot be read", async () => {
    const rig = new BpfRig();
    rig.addresses = new Error("no such name");
    await expect(rig.discovery.knows(rig.target())).rejects.toThrow("no such name");
    rig.addresses = [VIP.address];
    rig.kernel.failOpen(PINS.services, "seccomp");
    await expect(rig.discovery.knows(rig.target())).rejects.toMatchObject({ reason: "seccomp" });
  });
});

describe("closing", () => {
  it("ends every watch, reader and timer, in the middle of a look as well", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    const second = rig.watch(81);
    await rig.pass(1);
    second.watch.refresh();
    await rig.discovery.close();
    await rig.discovery.close();
    await rig.pass(5_000);
    expect([told.updates, second.updates]).toEqual([[], []]);
    expect([rig.openReaders, rig.clock.timerCount]).toEqual([0, 0]);
    const late = rig.watch();
    late.watch.refresh();
    const gone = rig.watch();
    gone.watch.close();
    expect(late.updates).toEqual([]);
    await rig.pass(5_000);
    expect(late.updates).toEqual([{ kind: "unavailable", reason: "the discovery was closed; make another" }]);
    expect([gone.updates, rig.openReaders, rig.clock.timerCount]).toEqual([[], 0, 0]);
  });

  it("before anything happened leaves nothing to open", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    await rig.discovery.close();
    const late = rig.watch();
    await expect(rig.discovery.knows(rig.target())).rejects.toMatchObject({
      code: "ERR_ONEHOP_DISCOVERY_UNAVAILABLE",
      message: "the discovery was closed; make another",
    });
    await rig.pass(5_000);
    expect([late.kinds, rig.openReaders, rig.clock.timerCount]).toEqual([["unavailable"], 0, 0]);
  });

  it("belongs to one mesh", () => {
    const discovery = bpfDiscovery({ kernel: createFakeKernel() });
    discovery.attach({ notify: () => undefined });
    expect(() => discovery.attach({ notify: () => undefined })).toThrow(
      expect.objectContaining({
        code: "ERR_ONEHOP_CONFIG",
        message: "a discovery belongs to one mesh; make another with bpfDiscovery()",
      }),
    );
  });

  it("before anything happened opens nothing", async () => {
    const rig = new BpfRig();
    rig.watch();
    await rig.discovery.close();
    await rig.pass(100);
    expect(rig.openReaders).toBe(0);
  });

  it("a watch is told nothing any more after its close, and never synchronously before", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1));
    const told = rig.watch();
    expect(told.updates).toEqual([]);
    told.watch.close();
    told.watch.refresh();
    told.watch.touch();
    await rig.pass(5_000);
    expect(told.updates).toEqual([]);
  });
});

describe("where the pins are", () => {
  it.each([
    ["/sys/fs/bpf/tc/globals", ["/sys/fs/bpf/tc/globals", "/run/cilium/bpffs/tc/globals"]],
    ["/run/cilium/bpffs/tc/globals", ["/run/cilium/bpffs/tc/globals"]],
  ])("is found out: %s", async (expected, directories) => {
    const kernel = createFakeKernel();
    const { services, backends, reverseNat } = lbMaps(4);
    for (const directory of directories) {
      for (const { pin, shape } of [services, backends, reverseNat]) {
        kernel.pin(kernel.create(pin, { ...shape, maxEntries: 10 }), `${directory}/${pin}`);
      }
    }
    const clock = new ManualClock();
    const discovery = bpfDiscovery({ kernel, clock, ownAddresses: [] });
    discovery.attach({ notify: () => undefined });
    const rig = new BpfRig();
    discovery.watch(rig.target(), () => undefined);
    await clock.advanceAsync(20);
    expect(kernel.openReaders(`${expected}/${services.pin}`)).toBe(1);
    await discovery.close();
  });
});

describe("a backend that keeps its id and changes", () => {
  it("keeps its key and takes the new state", async () => {
    const rig = new BpfRig();
    rig.agent.setService(VIP, pods(1, 2));
    const told = rig.watch();
    await rig.pass(20);
    const keys = told.endpoints.map(({ key }) => key);
    rig.agent.setService(VIP, [...pods(1), { address: "10.1.0.2", port: 8080, state: "terminating" }]);
    await rig.pass(POLL_MS);
    expect(told.endpoints.map(({ key }) => key)).toEqual(keys);
    expect(told.endpoints.map(({ state }) => state)).toEqual(["active", "terminating"]);
    const value = encodeBackend({
      address: "10.1.0.1",
      port: 8080,
      protocol: "tcp",
      state: "active",
      clusterId: 0,
      zone: 3,
    });
    rig.lie(PINS.backends, encodeBackendKey(1), () => value);
    await rig.pass(POLL_MS);
    expect(told.endpoints[0]).toMatchObject({ key: keys[0], locality: { zone: "#3" } });
  });
});
