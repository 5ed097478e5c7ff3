/** From pinned maps of the real kernel to calls that reach real servers, in the shapes and orders of both control planes. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { lbMaps } from "../../src/cilium/cilium-maps.js";
import { encodeServiceKey } from "../../src/cilium/service-map.js";
import { createBpfKernel } from "../../src/kernel/bpf-kernel.js";
import { createBpfMapMaker } from "../../src/kernel/bpf-map-maker.js";
import { loadBpfSyscall } from "../../src/kernel/bpf-syscall.js";
import type { Kernel, MapMaker } from "../../src/kernel/kernel.js";
import type { AgentBackend } from "../../src/testing/agent-service.js";
import { type Bpffs, mountBpffs } from "../support/bpffs.js";
import { describeKernel } from "../support/kernel-gate.js";
import {
  type MeshOnMaps,
  type MeshOnMapsOptions,
  meshOnMaps,
  OWN_ADDRESS,
  SERVICE,
  untilEndpoints,
  VIP,
  VIP6,
} from "../support/mesh-on-maps.js";
import { type PodProcess, startPodProcess } from "../support/pod-process.js";

const PORT = 8080;
const addressOf = (pod: number): string => `127.10.0.${pod}`;
const nameOf = (pod: number): string => `pod-${pod}`;
const backend = (pod: number, more: Partial<AgentBackend> = {}): AgentBackend => ({
  address: addressOf(pod),
  port: PORT,
  ...more,
});
const backends = (...pods: readonly number[]): AgentBackend[] => pods.map((pod) => backend(pod));
const addresses = (...pods: readonly number[]): string[] => pods.map(addressOf);
const names = (answered: Readonly<Record<string, number>>): string[] => Object.keys(answered).sort();
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describeKernel("calls by pinned maps", () => {
  let bpffs: Bpffs;
  let kernel: Kernel;
  let maker: MapMaker;
  let pods: PodProcess;
  let on: MeshOnMaps | undefined;
  let cases = 0;

  beforeAll(async () => {
    bpffs = mountBpffs();
    const sys = await loadBpfSyscall();
    kernel = createBpfKernel(sys);
    maker = createBpfMapMaker(sys);
    pods = await startPodProcess();
    const ten = Array.from({ length: 10 }, (_, index) => index + 1);
    await pods.add(...ten.map((pod) => ({ name: nameOf(pod), address: addressOf(pod), port: PORT })));
  });
  afterEach(async () => {
    await on?.close();
    on = undefined;
  });
  afterAll(async () => {
    await pods.stop();
    bpffs.unmount();
  });

  function start(options: Partial<MeshOnMapsOptions> = {}): MeshOnMaps {
    cases += 1;
    on = meshOnMaps({ kernel, maker, directory: bpffs.path(`case${cases}`), ...options });
    return on;
  }

  describe.each(["1.17", "1.20"] as const)("written as by Cilium %s", (version) => {
    it("scale up and down: calls reach exactly the pods there are, and none fails", async () => {
      const { agent, untilAddresses, call } = start({ version });
      agent.setService(VIP, backends(1, 2));
      expect(names(await call(40))).toEqual(["pod-1", "pod-2"]);
      agent.setService(VIP, backends(1, 2, 3, 4, 5));
      await untilAddresses(...addresses(1, 2, 3, 4, 5));
      expect(names(await call(200))).toEqual(["pod-1", "pod-2", "pod-3", "pod-4", "pod-5"]);
      agent.setService(VIP, backends(4));
      await untilAddresses(...addresses(4));
      expect(await call(20)).toEqual({ "pod-4": 20 });
    });

    it("a pod replaced at the same count is noticed although the master stays byte for byte the same", async () => {
      const { agent, untilAddresses, call } = start({ version });
      agent.setService(VIP, backends(1, 2));
      await untilAddresses(...addresses(1, 2));
      const before = masterOf(`case${cases}`, version);
      agent.setService(VIP, backends(2, 3));
      await untilAddresses(...addresses(2, 3));
      expect(masterOf(`case${cases}`, version)).toEqual(before);
      expect(names(await call(40))).toEqual(["pod-2", "pod-3"]);
    });

    it("T-49: a service address deleted and created again within the grace never leaves a call without a pod", async () => {
      const { agent, untilAddresses, call, events } = start({ version, service: { emptyGraceMs: 2_000 } });
      agent.setService(VIP, backends(1, 2));
      await untilAddresses(...addresses(1, 2));
      const revNat = agent.revNatOf(VIP);
      agent.deleteService(VIP);
      await pause(150);
      expect(events("discovery").at(-1)).toMatchObject({ state: "stale" });
      expect(names(await call(40))).toEqual(["pod-1", "pod-2"]);
      agent.setService(VIP, backends(3));
      expect(agent.revNatOf(VIP)).not.toBe(revNat);
      await untilAddresses(...addresses(3));
      expect(await call(10)).toEqual({ "pod-3": 10 });
      expect(events("discovery").map(({ state }) => state)).toEqual(["endpoints", "stale", "endpoints"]);
    });

    it("a service address deleted for good: the service's own address is dialled after the grace", async () => {
      const { agent, mesh, untilAddresses, events } = start({ version });
      agent.setService(VIP, backends(1));
      await untilAddresses(...addresses(1));
      agent.deleteService(VIP);
      const found = await untilAddresses(VIP.address);
      expect(found).toMatchObject([{ kind: "service", port: 80 }]);
      expect(events("discovery").at(-1)).toMatchObject({ state: "service-address", previous: "stale" });
      expect((await mesh.service(SERVICE).explain()).state).toBe("service-address");
    });

    it("T-48: replaced pins with the same ids are opened again; what is known of the pods stays", async () => {
      const { agent, untilAddresses, call, endpoints, events } = start({ version });
      agent.setService(VIP, backends(1, 2));
      await call(40);
      const before = await endpoints();
      agent.replaceMaps();
      agent.setService(VIP, backends(1, 2, 3));
      const after = await untilAddresses(...addresses(1, 2, 3));
      expect(events("reopen").length).toBeGreaterThan(0);
      for (const { address, backendId, picks } of before) {
        const same = after.find((endpoint) => endpoint.address === address);
        expect(same?.backendId).toBe(backendId);
        expect(same?.picks).toBeGreaterThanOrEqual(picks);
      }
      expect(names(await call(60))).toEqual(["pod-1", "pod-2", "pod-3"]);
    });

    it("T-48: replaced pins with new ids: pods at the same address and port are the same pods", async () => {
      const { agent, call, endpoints, events } = start({ version });
      agent.setService(VIP, backends(9));
      agent.setService(VIP, backends(9, 1, 2));
      agent.setService(VIP, backends(1, 2));
      await call(40);
      const before = await endpoints();
      const adopted = events("endpoints").length;
      agent.replaceMaps({ renumber: true });
      const after = await untilEndpoints(endpoints, (found) =>
        found.every(({ backendId, address }) => backendId === agent.backendIdOf(address, PORT)),
      );
      expect(after.map(({ backendId }) => backendId)).not.toEqual(before.map(({ backendId }) => backendId));
      expect(after.map(({ picks }) => picks)).toEqual(before.map(({ picks }) => picks));
      for (const { diff } of events("endpoints").slice(adopted)) expect([diff.added, diff.removed]).toEqual([[], []]);
      agent.setService(VIP, backends(1, 4));
      const found = await untilEndpoints(endpoints, (all) => all.some(({ address }) => address === addressOf(4)));
      expect(found.find(({ address }) => address === addressOf(1))?.picks).toBeGreaterThan(0);
      expect(found.find(({ address }) => address === addressOf(4))?.picks).toBe(0);
    });

    it("replaced pins that are filled late: the last good view stays and calls go on", async () => {
      const { agent, untilAddresses, call, events } = start({ version });
      agent.setService(VIP, backends(1, 2));
      await untilAddresses(...addresses(1, 2));
      agent.replaceMaps({ refill: false, renumber: true });
      while (events("reopen").length === 0) await pause(20);
      await pause(500); // More than the grace of an empty service.
      expect(names(await call(40))).toEqual(["pod-1", "pod-2"]);
      expect(events("discovery").at(-1)).toMatchObject({ state: "stale" });
      agent.refill();
      agent.setService(VIP, backends(3));
      await untilAddresses(...addresses(3));
      expect(events("discovery").at(-1)).toMatchObject({ state: "endpoints" });
    });

    it("terminating, quarantined and maintained pods get no calls while an active one is left", async () => {
      const { agent, call, mesh } = start({ version });
      agent.setService(VIP, [
        backend(1),
        backend(2, { state: "terminating" }),
        backend(3, { state: "quarantined" }),
        backend(4, { state: "maintenance" }),
      ]);
      expect(await call(40)).toEqual({ "pod-1": 40 });
      const { endpoints } = await mesh.service(SERVICE).explain();
      expect(endpoints.map(({ address, state, eligible }) => [address, state, eligible]).sort()).toEqual([
        [addressOf(1), "active", true],
        [addressOf(2), "terminating", false],
        [addressOf(3), "quarantined", false],
      ]);
    });

    it("the last active pod goes: terminating ones are called, quarantined ones not", async () => {
      const { agent, call, endpoints } = start({ version });
      agent.setService(VIP, [backend(1), backend(2, { state: "terminating" }), backend(3, { state: "quarantined" })]);
      await call(5);
      agent.setService(VIP, [
        backend(1, { state: "terminating" }),
        backend(2, { state: "terminating" }),
        backend(3, { state: "quarantined" }),
      ]);
      await untilEndpoints(endpoints, (found) => found.every(({ state }) => state !== "active"));
      expect(names(await call(40))).toEqual(["pod-1", "pod-2"]);
    });

    it("pods that service affinity does not prefer get no calls, whether they are in the maps or not", async () => {
      const { agent, call, mesh } = start({ version });
      agent.setService(VIP, [backend(1), backend(2, { isPreferred: false })]);
      expect(await call(40)).toEqual({ "pod-1": 40 });
      const { endpoints } = await mesh.service(SERVICE).explain();
      const rest = version === "1.17" ? [[addressOf(2), "quarantined", false]] : [];
      expect(endpoints.map(({ address, state, eligible }) => [address, state, eligible])).toEqual([
        [addressOf(1), "active", true],
        ...rest,
      ]);
    });

    it("two scopes: calls from inside go by the internal one", async () => {
      const { agent, call } = start({ version });
      agent.setService({ ...VIP, scope: "internal", flags: ["loadBalancer", "internalLocal"] }, backends(1));
      agent.setService({ ...VIP, flags: ["loadBalancer", "routable", "internalLocal", "twoScopes"] }, backends(2, 3));
      expect(await call(20)).toEqual({ "pod-1": 20 });
    });

    it("a frontend of the L7 proxy is dialled by its own address, and by its pods where that is asked for", async () => {
      const vip = { address: "127.20.0.1", port: 8088 };
      await pods.add({ name: "envoy", ...vip });
      const frontend = { ...vip, flags: ["l7Proxy"], l7ProxyPort: 12_345 } as const;
      const byProxy = start({ version, addresses: [vip.address] });
      byProxy.agent.setService(frontend, backends(1));
      expect(await byProxy.call(10, vip.port)).toEqual({ envoy: 10 });
      byProxy.agent.setService(vip, backends(1));
      await untilEndpoints(
        () => byProxy.endpoints(vip.port),
        ([found]) => found?.kind === "pod",
      );
      expect(await byProxy.call(10, vip.port)).toEqual({ "pod-1": 10 });
      await byProxy.close();
      const byPods = start({ version, addresses: [vip.address], discovery: { l7Proxy: "pods" } });
      byPods.agent.setService(frontend, backends(1));
      expect(await byPods.call(10, vip.port)).toEqual({ "pod-1": 10 });
      await pods.remove("envoy");
    });

    it("IPv6: service address, pods and identities", async () => {
      const six = [1, 2].map((pod) => ({ name: `six-${pod}`, address: "::1", port: 8_180 + pod }));
      await pods.add(...six);
      const { agent, call, endpoints } = start({
        version,
        addresses: [VIP6.address],
        agent: { families: [6] },
        discovery: { clusters: { 3: "eu" } },
      });
      agent.setIdentity("::1", agent.identityIn(3, 500), { node: "172.18.0.9" });
      agent.setService(
        VIP6,
        six.map(({ address, port }) => ({ address, port })),
      );
      expect(names(await call(40))).toEqual(["six-1", "six-2"]);
      expect(await endpoints()).toMatchObject([
        { address: "::1", cluster: "eu", identity: (3 << 16) | 500, node: "172.18.0.9" },
        { address: "::1", cluster: "eu" },
      ]);
      await pods.remove("six-1", "six-2");
    });

    it("both families: a service whose IPv6 maps are not there is found by its IPv4 address", async () => {
      const { agent, call } = start({
        version,
        addresses: [VIP6.address, VIP.address],
        agent: { families: [4] },
      });
      agent.setService(VIP, backends(1));
      expect(await call(5)).toEqual({ "pod-1": 5 });
    });

    it("T-43: a recycled pod address with a new backend id starts without history, and old connections are drained", async () => {
      const place = { address: "127.10.1.1", port: PORT };
      await pods.add({ name: "first", ...place, generation: 1 });
      const { agent, call, endpoints, events } = start({ version });
      agent.setService(VIP, [place, backend(1)]);
      await call(60);
      const old = (await endpoints()).find(({ address }) => address === place.address);
      expect(old?.picks).toBeGreaterThan(0);
      agent.setService(VIP, backends(1));
      agent.setService(VIP, [place, backend(1)]);
      const found = await untilEndpoints(endpoints, (all) =>
        all.some(({ address, backendId }) => address === place.address && backendId !== old?.backendId),
      );
      expect(found.find(({ address }) => address === place.address)).toMatchObject({ picks: 0, connections: 0 });
      expect(events("endpoints").at(-1)?.diff).toMatchObject({
        added: [{ address: place.address }],
        removed: [{ address: place.address }],
      });
      await pods.remove("first");
    });

    it("T-43: maps that lag behind a recycled address: another identity in the ipcache stops the calls", async () => {
      const { agent, call, events, mesh } = start({ version, service: { expectIdentity: { numbers: [70_001] } } });
      for (const pod of [1, 2, 3]) agent.setIdentity(addressOf(pod), 70_001);
      agent.setService(VIP, backends(1, 2, 3));
      expect(names(await call(60))).toEqual(["pod-1", "pod-2", "pod-3"]);
      agent.setIdentity(addressOf(2), 70_999);
      while (events("identity-mismatch").length === 0) await pause(10);
      expect(events("identity-mismatch")).toMatchObject([
        { service: SERVICE, identity: 70_999, obeyed: true, endpoint: { address: addressOf(2) } },
      ]);
      expect(names(await call(60))).toEqual(["pod-1", "pod-3"]);
      const { endpoints } = await mesh.service(SERVICE).explain();
      expect(endpoints.find(({ address }) => address === addressOf(2))).toMatchObject({ eligible: false });
    });

    it("T-43: a relabelled pod has another identity and keeps its history", async () => {
      const { agent, call, endpoints, events } = start({ version });
      agent.setIdentity(addressOf(1), 70_001);
      agent.setService(VIP, backends(1));
      await call(20);
      const before = (await endpoints())[0]?.connections;
      agent.setIdentity(addressOf(1), 70_002);
      const found = await untilEndpoints(endpoints, ([pod]) => pod?.identity === 70_002);
      expect(found).toMatchObject([{ picks: 20, connections: before }]);
      expect(events("endpoints").at(-1)?.diff).toMatchObject({ added: [], removed: [] });
    });

    it("T-43: an ipcache that lags lets a covering prefix answer: unknown, and no change of what was known", async () => {
      const { agent, call, endpoints, events, untilAddresses } = start({
        version,
        service: { expectIdentity: { numbers: [70_001] } },
      });
      agent.setIdentity("0.0.0.0", 2, { prefixLength: 0 });
      agent.setIdentity("127.10.0.0", 0x0100_0001, { prefixLength: 24 });
      agent.setIdentity(addressOf(1), 70_001);
      agent.setService(VIP, backends(1));
      await untilAddresses(...addresses(1));
      agent.deleteIdentity(addressOf(1));
      agent.setService(VIP, [backend(1), { address: "127.10.0.2", port: PORT }]);
      await untilAddresses(...addresses(1, 2));
      await pause(1_200); // Identities are looked up each second.
      expect((await endpoints()).map(({ identity }) => identity)).toEqual([70_001, undefined]);
      expect(names(await call(40))).toEqual(["pod-1", "pod-2"]);
      expect(events("identity-mismatch")).toEqual([]);
      agent.setIdentity(addressOf(2), 70_001);
      await untilEndpoints(endpoints, (found) => found.every(({ identity }) => identity === 70_001));
    });

    it.each([255, 511] as const)("clusters by identity bits, of %d clusters at most", async (maxConnectedClusters) => {
      const { agent, call, endpoints } = start({
        version,
        agent: { maxConnectedClusters },
        discovery: {
          maxConnectedClusters,
          clusters: { 1: "eu-west-1", 2: "gke-eu" },
          zones: { 4: "eu-west-1b" },
          ownAddresses: [OWN_ADDRESS],
        },
      });
      agent.setIdentity(OWN_ADDRESS, agent.identityIn(1, 400));
      for (const [pod, cluster] of [
        [1, 1],
        [2, 2],
        [3, 255],
      ] as const) {
        agent.setIdentity(addressOf(pod), agent.identityIn(cluster, 1234), { node: `172.18.0.${pod}` });
      }
      agent.setIdentity(addressOf(4), 6); // A host-network pod: the identity says no cluster.
      agent.setService(VIP, [backend(1, { zone: 4 }), backend(2, { zone: 5 }), backend(3), backend(4)]);
      const found = await untilEndpoints(endpoints, (all) => all.length === 4);
      expect(found.map(({ cluster, zone, node }) => [cluster, zone, node])).toEqual([
        ["eu-west-1", "eu-west-1b", "172.18.0.1"],
        ["gke-eu", "#5", "172.18.0.2"],
        ["#255", undefined, "172.18.0.3"],
        [undefined, undefined, undefined],
      ]);
      expect(await call(20), "the own cluster first").toEqual({ "pod-1": 20 });
    });

    it("an agent that died in the middle of an update: nothing foreign, and the rest is used after a while", async () => {
      const steps = countSteps(version);
      const { agent, untilAddresses, call, events } = start({ version });
      for (let died = 1; died <= steps; died += 1) {
        agent.setService(VIP, backends(1, 2, 3));
        await untilAddresses(...addresses(1, 2, 3));
        let taken = 0;
        for (const _ of agent.serviceSteps(VIP, backends(3, 4))) {
          taken += 1;
          if (taken === died) break;
        }
        await pause(150);
        for (const pod of names(await call(10))) expect(["pod-1", "pod-2", "pod-3", "pod-4"]).toContain(pod);
        agent.setService(VIP, backends(3, 4));
        await untilAddresses(...addresses(3, 4));
      }
      const states = new Set(events("discovery").map(({ state }) => state));
      expect([...states].sort(), "no view is ever empty or absent").toEqual(
        ["endpoints", "stale"].slice(0, states.size),
      );
    });

    it("many services at once: each is followed by its own entries", async () => {
      const { agent, mesh, untilAddresses } = start({ version });
      for (let port = 80; port < 90; port += 1) agent.setService({ ...VIP, port }, backends(1 + (port % 10)));
      await untilAddresses(...addresses(1));
      for (let port = 80; port < 90; port += 1) {
        const { headers, body } = await mesh.request(`http://${SERVICE}:${port}/`);
        await body.dump();
        expect(headers["x-pod"]).toBe(nameOf(1 + (port % 10)));
      }
    });
  });

  it("wildcard entries are no service: another port of the same address is dialled as it is", async () => {
    const { agent, untilAddresses, endpoints } = start({ version: "1.20" });
    agent.setService(VIP, backends(1));
    await untilAddresses(...addresses(1));
    expect(await endpoints(81)).toMatchObject([{ kind: "service", address: VIP.address, port: 81 }]);
  });

  it("entries without a protocol that 1.17 took over are found, those with one win", async () => {
    const { agent, untilAddresses, call } = start({ version: "1.17" });
    agent.setService({ ...VIP, protocol: "any" }, backends(1));
    await untilAddresses(...addresses(1));
    agent.setService(VIP, backends(2));
    await untilAddresses(...addresses(2));
    expect(await call(5)).toEqual({ "pod-2": 5 });
  });

  it("a UDP service on the same port is another service", async () => {
    const { agent, call } = start();
    agent.setService({ ...VIP, protocol: "udp" }, backends(1, 2));
    agent.setService(VIP, backends(2));
    expect(await call(10)).toEqual({ "pod-2": 10 });
  });

  it("after an upgrade the old ipcache stays behind: the new one is read as soon as it is pinned", async () => {
    const directory = bpffs.path("upgrade");
    const { agent, endpoints, untilAddresses } = start({ version: "1.17", directory });
    agent.setIdentity(addressOf(1), 70_017);
    agent.setService(VIP, backends(1));
    expect(await untilAddresses(...addresses(1))).toMatchObject([{ identity: 70_017 }]);
    const { version, ...upgraded } = { version: "1.18" as const, maker, directory };
    const { createCiliumAgent } = await import("../../src/testing/cilium-agent.js");
    const newer = createCiliumAgent({ ...upgraded, version });
    newer.start();
    newer.setIdentity(addressOf(1), 70_018);
    newer.setService(VIP, backends(1));
    await untilEndpoints(endpoints, ([pod]) => pod?.identity === 70_018);
    newer.close();
  });

  /** The bytes of the service's master, read beside the mesh. */
  function masterOf(name: string, version: "1.17" | "1.20"): Uint8Array {
    const { pin, shape } = lbMaps(4).services;
    const reader = kernel.open(bpffs.path(`${name}/${pin}`), shape);
    const value = new Uint8Array(12);
    const found = reader.lookup(encodeServiceKey({ ...VIP, slot: 0, protocol: "tcp", scope: "external" }), value);
    reader.close();
    expect(found, version).toBe(true);
    return value;
  }

  /** How many writes the update takes that the dying agent makes. */
  function countSteps(version: "1.17" | "1.20"): number {
    const { agent } = start({ version });
    agent.setService(VIP, backends(1, 2, 3));
    const steps = [...agent.serviceSteps(VIP, backends(3, 4))].length;
    agent.close();
    on = undefined;
    return steps;
  }
});
