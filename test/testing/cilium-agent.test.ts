import { describe, expect, it } from "vitest";
import { CILIUM_VERSIONS, type CiliumVersionName } from "../../src/cilium/cilium-versions.js";
import { createFakeKernel, type FakeKernel } from "../../src/kernel/fake-kernel.js";
import type { MapMaker } from "../../src/kernel/kernel.js";
import type { MapOperation } from "../../src/testing/agent-maps.js";
import { type CiliumAgent, type CiliumAgentOptions, createCiliumAgent } from "../../src/testing/cilium-agent.js";

const DIRECTORY = "/fake/tc/globals";
const VIP = { address: "10.96.7.7", port: 80 };
const OLD: readonly CiliumVersionName[] = ["1.13", "1.14", "1.15", "1.16", "1.17"];
const NEW: readonly CiliumVersionName[] = ["1.18", "1.19", "1.20"];

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const pod = (last: number): { address: string; port: number } => ({ address: `10.1.0.${last}`, port: 8080 });
const told = (operations: Iterable<MapOperation>): string[] =>
  [...operations].map(({ action, entry }) => `${action} ${entry}`);

interface Watched {
  readonly agent: CiliumAgent;
  readonly fake: FakeKernel;
  /** What stands in the map that is pinned under a name now, `key → value` in hex. */
  content(pin: string): Record<string, string>;
}

/** An agent on a fake kernel, with all that it writes noted beside the kernel. */
function watched(options: Partial<CiliumAgentOptions> = {}): Watched {
  const fake = createFakeKernel();
  const byPin = new Map<string, Map<string, string>>();
  const maker: MapMaker = {
    create(name, shape) {
      const map = fake.create(name, shape);
      const content = new Map<string, string>();
      byPin.set(name, content);
      const { update, delete: remove } = map;
      return Object.assign(map, {
        update(key: Uint8Array, value: Uint8Array) {
          update(key, value);
          content.set(hexOf(key), hexOf(value));
        },
        delete(key: Uint8Array) {
          content.delete(hexOf(key));
          return remove(key);
        },
      });
    },
    pin: fake.pin,
    unpin: fake.unpin,
  };
  const agent = createCiliumAgent({ maker, directory: DIRECTORY, ...options });
  agent.start();
  return { agent, fake, content: (pin) => Object.fromEntries([...(byPin.get(pin) ?? [])].sort()) };
}

describe("the maps of a small example, byte for byte", () => {
  const key = (slot: string, proto: string): string => `0a6007070050${slot}00${proto}000000`;
  const backend = (last: string, proto: string, state: string, zone: string): string =>
    `0a0100${last}1f90${proto}${state}0000${zone}00`;

  const flags = { "1.18": "10", "1.19": "10", "1.20": "10" } as Partial<Record<CiliumVersionName, string>>;
  it.each(CILIUM_VERSIONS)("of Cilium $version", (version) => {
    const { agent, content } = watched({ version: version.version });
    agent.setService({ ...VIP, flags: ["affinity"], algorithm: "random", affinityTimeoutS: 10_800 }, [
      { ...pod(1), zone: 2 },
      { ...pod(2), state: "terminating" },
      { ...pod(3), state: "quarantined" },
      { ...pod(4), state: "maintenance" },
    ]);
    agent.setIdentity("10.1.0.1", agent.identityIn(2, 1234), { node: "172.18.0.5" });
    agent.setIdentity("0.0.0.0", 2, { prefixLength: 0 });

    const proto = version.writesProtocol ? "06" : "00";
    const zone = version.writesZone ? "02" : "00";
    const slot = flags[version.version] ?? "00";
    const qcount = version.writesQcount ? "0200" : "0000";
    const algorithm = version.writesAlgorithm ? "01" : "00";
    expect(content("cilium_lb4_services_v2")).toEqual({
      [key("00", proto)]: `302a00${algorithm}010000011000${qcount}`,
      [key("01", proto)]: `0100000000000001${slot}000000`,
      [key("02", proto)]: `0200000000000001${slot}000000`,
      [key("03", proto)]: `0300000000000001${slot}${version.writesSlotFlags ? "40" : "00"}0000`,
      ...(version.writesWildcards ? { "0a6007070000000000000000": "000000000000000000000000" } : {}),
    });
    expect(content("cilium_lb4_backends_v3")).toEqual({
      "01000000": backend("01", proto, "00", zone),
      "02000000": backend("02", proto, "01", "00"),
      "03000000": backend("03", proto, "02", "00"),
      "04000000": backend("04", proto, "03", "00"),
    });
    expect(content("cilium_lb4_reverse_nat")).toEqual({ "0001": "0a6007070050" });
    const isV2 = version.ipcache === "cilium_ipcache_v2";
    const zeros = (count: number): string => "00".repeat(count);
    expect(content(version.ipcache)).toEqual({
      [`40000000000000010a010001${zeros(12)}`]: isV2
        ? `d2040200ac120005${zeros(12)}00000002`
        : `d2040200ac120005${zeros(4)}`,
      [`2000000000000001${zeros(16)}`]: isV2 ? `02000000${zeros(20)}` : `02000000${zeros(8)}`,
    });
  });

  it("of an IPv6 service", () => {
    const { agent, content } = watched();
    agent.setService({ address: "fd00::0a", port: 443 }, [{ address: "fd00:1::5", port: 8443, state: "terminating" }]);
    expect(content("cilium_lb6_services_v2")).toEqual({
      fd00000000000000000000000000000a01bb000006000000: "000000000100000100000000",
      fd00000000000000000000000000000a01bb010006000000: "010000000000000100000000",
      fd00000000000000000000000000000a0000000000000000: "000000000000000000000000",
    });
    expect(content("cilium_lb6_backends_v3")).toEqual({
      "01000000": "fd00000100000000000000000000000520fb060100000000",
    });
    expect(content("cilium_lb6_reverse_nat")).toEqual({ "0001": "fd00000000000000000000000000000a01bb" });
  });

  it("of two scopes, an L7 proxy, and another protocol on the same port", () => {
    const { agent, content } = watched({ version: "1.18" });
    const address = "192.0.2.1";
    agent.setService({ address, port: 80, flags: ["loadBalancer", "routable", "twoScopes", "externalLocal"] }, []);
    agent.setService({ address, port: 80, scope: "internal", flags: ["loadBalancer"] }, [pod(1)]);
    agent.setService({ address, port: 81, flags: ["l7Proxy"], l7ProxyPort: 0x3039 }, []);
    agent.setService({ address, port: 80, protocol: "udp" }, [pod(1)]);
    expect(content("cilium_lb4_services_v2")).toEqual({
      c00002010050000006000000: "000000000000000164200000",
      c00002010050000006010000: "000000000100000220000000",
      c00002010050010006010000: "010000000000000220000000",
      c00002010051000006000000: "303900000000000300040000",
      c00002010050000011000000: "000000000100000400000000",
      c00002010050010011000000: "020000000000000400000000",
    });
    expect([agent.backendIdOf("10.1.0.1", 8080), agent.backendIdOf("10.1.0.1", 8080, "udp")]).toEqual([1, 2]);
  });

  it("puts the cluster's number where 511 clusters have it", () => {
    expect(watched({ maxConnectedClusters: 511 }).agent.identityIn(2, 1234)).toBe((2 << 15) | 1234);
  });
});

describe("which backends are counted", () => {
  const counts = (
    states: readonly ("active" | "terminating" | "quarantined")[],
    version: CiliumVersionName,
  ): string => {
    const { agent, content } = watched({ version, families: [4] });
    agent.setService(
      VIP,
      states.map((state, index) => ({ ...pod(index + 1), state })),
    );
    const proto = OLD.slice(0, 4).includes(version) ? "00" : "06";
    const master = Buffer.from(content("cilium_lb4_services_v2")[`0a6007070050${"0000"}${proto}000000`] ?? "", "hex");
    return `${master.readUInt16LE(4)}+${master.readUInt16LE(10)}`;
  };

  it.each([...OLD.slice(3), ...NEW])("active ones; terminating ones where none is active (%s)", (version) => {
    expect(counts(["terminating", "active", "quarantined", "active"], version)).toBe("2+2");
    expect(counts(["terminating", "quarantined", "terminating"], version)).toBe("2+1");
    expect(counts(["quarantined"], version)).toBe("0+1");
  });

  it("active ones that affinity does not prefer go to the tail up to 1.17 and are left out later", () => {
    for (const [version, expected] of [
      ["1.17", 2],
      ["1.18", 1],
    ] as const) {
      const { agent, content } = watched({ version });
      agent.setService(VIP, [{ ...pod(1), isPreferred: false }, pod(2)]);
      expect(Object.keys(content("cilium_lb4_backends_v3"))).toHaveLength(expected);
      const master = content("cilium_lb4_services_v2")["0a6007070050000006000000"] ?? "";
      expect(master.slice(8, 12), version).toBe("0100");
    }
  });
});

describe("the order of operations", () => {
  const created = ["update reverse NAT 1", "update master"];

  it.each(OLD)("of a new service and an update in the control plane up to 1.17 (%s)", (version) => {
    const { agent } = watched({ version });
    expect(told(agent.serviceSteps(VIP, [pod(1), pod(2), pod(3)]))).toEqual([
      "update backend 1",
      "update backend 2",
      "update backend 3",
      "update slot 1",
      "update slot 2",
      "update slot 3",
      ...created,
    ]);
    expect(told(agent.serviceSteps(VIP, [{ ...pod(3), state: "quarantined" }, pod(9)]))).toEqual([
      "update backend 3",
      "update backend 4",
      "update slot 1",
      "update slot 2",
      ...created,
      "delete slot 3",
      "delete backend 1",
      "delete backend 2",
    ]);
  });

  it.each(NEW)("of a new service and an update in the control plane from 1.18 on (%s)", (version) => {
    const { agent } = watched({ version });
    const wildcard = version === "1.18" ? [] : ["update wildcard"];
    expect(told(agent.serviceSteps(VIP, [pod(1), pod(2), pod(3)]))).toEqual([
      "update backend 1",
      "update slot 1",
      "update backend 2",
      "update slot 2",
      "update backend 3",
      "update slot 3",
      ...created,
      ...wildcard,
    ]);
    expect(told(agent.serviceSteps(VIP, [{ ...pod(3), state: "quarantined" }, pod(9)]))).toEqual([
      "delete backend 1",
      "delete backend 2",
      "update backend 4",
      "update slot 1",
      "update backend 3",
      "update slot 2",
      ...created,
      "delete slot 3",
    ]);
  });

  it("of a removal up to 1.17: entries, reverse NAT, backends last", () => {
    const { agent, content } = watched({ version: "1.17" });
    agent.setService(VIP, [pod(1), pod(2)]);
    expect(told(agent.deleteSteps(VIP))).toEqual([
      "delete master",
      "delete slot 1",
      "delete slot 2",
      "delete reverse NAT 1",
      "delete backend 1",
      "delete backend 2",
    ]);
    expect(content("cilium_lb4_services_v2")).toEqual({});
  });

  it("of a removal from 1.18 on: backends first, wildcard last", () => {
    const { agent, content } = watched({ version: "1.20" });
    agent.setService(VIP, [pod(1), pod(2)]);
    expect(told(agent.deleteSteps(VIP))).toEqual([
      "delete backend 1",
      "delete backend 2",
      "delete master",
      "delete slot 1",
      "delete slot 2",
      "delete reverse NAT 1",
      "delete wildcard",
    ]);
    expect([content("cilium_lb4_services_v2"), content("cilium_lb4_backends_v3")]).toEqual([{}, {}]);
  });

  it("an address keeps its wildcard entry until its last frontend goes", () => {
    const { agent } = watched();
    agent.setService(VIP, []);
    expect(told(agent.serviceSteps({ ...VIP, port: 81 }, []))).toContain("update wildcard");
    expect(told(agent.serviceSteps(VIP, []))).not.toContain("update wildcard");
    expect(told(agent.deleteSteps(VIP))).not.toContain("delete wildcard");
    expect(told(agent.deleteSteps({ ...VIP, port: 81 }))).toContain("delete wildcard");
  });

  it("a same-count replacement leaves the master byte for byte as it was", () => {
    const { agent } = watched();
    agent.setService(VIP, [pod(1), pod(2)]);
    const operations = [...agent.serviceSteps(VIP, [pod(1), pod(3)])];
    const changed = operations.filter(({ isChange }) => isChange).map(({ entry }) => entry);
    expect(changed).toEqual(["backend 2", "backend 3", "slot 2"]);
  });
});

describe("ids", () => {
  it.each(["1.17", "1.20"] as const)(
    "rise, are shared, and are given anew to an address that comes back (%s)",
    (version) => {
      const { agent } = watched({ version });
      const other = { ...VIP, port: 81 };
      agent.setService(VIP, [pod(1), pod(2)]);
      agent.setService(other, [pod(2), pod(3)]);
      expect([1, 2, 3].map((last) => agent.backendIdOf(pod(last).address, 8080))).toEqual([1, 2, 3]);
      expect([agent.revNatOf(VIP), agent.revNatOf(other)]).toEqual([1, 2]);
      expect(told(agent.serviceSteps(VIP, [])), "another frontend still uses backend 2").not.toContain(
        "delete backend 2",
      );
      expect(agent.backendIdOf(pod(1).address, 8080)).toBeUndefined();
      agent.setService(VIP, [pod(1), pod(2)]);
      expect([1, 2].map((last) => agent.backendIdOf(pod(last).address, 8080))).toEqual([4, 2]);
      agent.deleteService(VIP);
      agent.setService(VIP, []);
      expect(agent.revNatOf(VIP)).toBe(3);
    },
  );

  it("up to 1.17 slots are in the order of ids, later in that of addresses", () => {
    const slots = (version: CiliumVersionName): string[] => {
      const { agent, content } = watched({ version });
      agent.setService(VIP, [pod(2), pod(100), pod(20)]);
      agent.setService(VIP, [pod(1), pod(2), pod(100), pod(20)]);
      const services = content("cilium_lb4_services_v2");
      return ["01", "02", "03", "04"].map((slot) => (services[`0a6007070050${slot}0006000000`] ?? "").slice(0, 2));
    };
    expect(slots("1.17")).toEqual(["01", "02", "03", "04"]);
    expect(slots("1.18")).toEqual(["04", "01", "02", "03"]);
  });
});

describe("an agent that dies in the middle", () => {
  it.each(["1.17", "1.20"] as const)("is mended by the next update wherever it stopped (%s)", (version) => {
    const wanted = [pod(1), pod(7), pod(8)];
    const clean = watched({ version });
    clean.agent.setService(VIP, wanted);
    const steps = [...watched({ version }).agent.serviceSteps(VIP, [pod(1), pod(2), pod(3), pod(4), pod(5)])].length;
    for (let died = 1; died <= steps; died += 1) {
      const { agent, content } = watched({ version });
      let taken = 0;
      for (const _ of agent.serviceSteps(VIP, [pod(1), pod(2), pod(3), pod(4), pod(5)])) {
        taken += 1;
        if (taken === died) break;
      }
      agent.setService(VIP, wanted);
      const named = Object.entries(content("cilium_lb4_services_v2"))
        .filter(([key]) => !/^.{12}0000/.test(key))
        .map(([, value]) => value.slice(0, 8));
      expect(Object.keys(content("cilium_lb4_services_v2")), `stopped after ${died}`).toEqual(
        Object.keys(clean.content("cilium_lb4_services_v2")),
      );
      expect(named.sort()).toEqual(Object.keys(content("cilium_lb4_backends_v3")));
      expect(Object.values(content("cilium_lb4_backends_v3")).sort()).toEqual(
        Object.values(clean.content("cilium_lb4_backends_v3")).sort(),
      );
    }
  });
});

describe("replaced maps", () => {
  it("hold the same content under new stamps", () => {
    const { agent, fake, content } = watched();
    agent.setService(VIP, [pod(2), pod(3)]);
    agent.setService(VIP, [pod(3), pod(4)]);
    agent.setIdentity("10.1.0.3", 70_000);
    const pins = ["cilium_lb4_services_v2", "cilium_lb4_backends_v3", "cilium_lb4_reverse_nat", "cilium_ipcache_v2"];
    const before = pins.map((pin) => [content(pin), fake.pinStamp(`${DIRECTORY}/${pin}`)]);
    agent.replaceMaps();
    for (const [index, pin] of pins.entries()) {
      expect(content(pin)).toEqual(before[index]?.[0]);
      expect(fake.pinStamp(`${DIRECTORY}/${pin}`)).not.toBe(before[index]?.[1]);
    }
  });

  it("have ids from 1 on when renumbered, and stay empty until refilled when asked to", () => {
    const { agent, content } = watched();
    agent.setService(VIP, [pod(2), pod(3)]);
    agent.setService(VIP, [pod(3), pod(4)]);
    expect(agent.backendIdOf(pod(3).address, 8080)).toBe(2);
    agent.replaceMaps({ renumber: true, refill: false });
    expect(content("cilium_lb4_services_v2")).toEqual({});
    agent.refill();
    expect([3, 4].map((last) => agent.backendIdOf(pod(last).address, 8080))).toEqual([1, 2]);
    expect(Object.keys(content("cilium_lb4_backends_v3"))).toEqual(["01000000", "02000000"]);
  });
});

describe("pins", () => {
  it("are those of the version and families, and go with the agent", () => {
    const { agent, fake } = watched({ version: "1.17", families: [6] });
    const isPinned = (pin: string): boolean => fake.pinStamp(`${DIRECTORY}/${pin}`) !== undefined;
    const pins = ["cilium_lb6_services_v2", "cilium_lb4_services_v2", "cilium_ipcache", "cilium_ipcache_v2"];
    expect(pins.map(isPinned)).toEqual([true, false, true, false]);
    expect(() => agent.setService(VIP, [])).toThrow(/no map cilium_lb4_reverse_nat/);
    agent.close();
    expect(pins.map(isPinned)).toEqual([false, false, false, false]);
  });
});
