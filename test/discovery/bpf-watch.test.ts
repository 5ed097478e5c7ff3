import { describe, expect, it } from "vitest";
import { bpfDiscovery } from "../../src/discovery/bpf-discovery.js";
import type { BpfDiscoveryOptions } from "../../src/discovery/bpf-options.js";
import type { DiscoveryUpdate, DiscoveryWatch, ServiceAddresses } from "../../src/discovery/discovery.js";
import { createFakeKernel, type FakeKernel } from "../../src/kernel/fake-kernel.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import { parseServiceHost } from "../../src/model/service-ref.js";
import { type CiliumAgent, type CiliumAgentOptions, createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { ManualClock } from "../support/manual-clock.js";

const DIRECTORY = "/fake/tc/globals";
const BACKENDS = `${DIRECTORY}/cilium_lb4_backends_v3`;
const SERVICES = `${DIRECTORY}/cilium_lb4_services_v2`;
const VIP = { address: "10.96.7.7", port: 80 };
const OTHER_VIP = { address: "10.96.7.8", port: 80 };
const pod = (last: number): { address: string; port: number } => ({ address: `10.1.0.${last}`, port: 8080 });

interface Watching {
  readonly agent: CiliumAgent;
  readonly fake: FakeKernel;
  readonly clock: ManualClock;
  /** Addresses of the service; may be replaced. */
  addresses: readonly string[];
  readonly told: DiscoveryUpdate[];
  readonly watch: DiscoveryWatch;
  /** A watch of another service, of the same discovery. */
  readonly other: DiscoveryWatch;
  /** Kind of the last update, with the last octet of each endpoint of a view. */
  last(): string;
}

function watching(
  wrap: (fake: FakeKernel) => Kernel = (fake) => fake,
  options: { readonly agent?: Partial<CiliumAgentOptions>; readonly discovery?: BpfDiscoveryOptions } = {},
): Watching {
  const fake = createFakeKernel();
  const clock = new ManualClock();
  const agent = createCiliumAgent({ maker: fake, directory: DIRECTORY, families: [4], ...options.agent });
  agent.start();
  const service = parseServiceHost("quotes.energy");
  if (service === undefined) throw new Error("no service");
  const told: DiscoveryUpdate[] = [];
  const discovery = bpfDiscovery({
    kernel: wrap(fake),
    pinDirectory: DIRECTORY,
    clock,
    pollMs: 25,
    ownAddresses: [],
    ...options.discovery,
  });
  discovery.attach({ notify: () => undefined });
  const watched = {
    agent,
    fake,
    clock,
    addresses: [VIP.address] as readonly string[],
    told,
    last() {
      const update = told.at(-1);
      if (update?.kind !== "view") return update?.kind ?? "nothing";
      return `view ${update.endpoints.map(({ address }) => address.split(".")[3]).join(" ")}`.trim();
    },
  };
  const addresses = async (): Promise<ServiceAddresses> => ({ addresses: watched.addresses, ttlMs: 60_000 });
  const none = async (): Promise<ServiceAddresses> => ({ addresses: ["10.96.99.99"], ttlMs: 60_000 });
  return Object.assign(watched, {
    watch: discovery.watch({ service, port: 80, addresses }, (update) => told.push(update)),
    other: discovery.watch({ service, port: 80, addresses: none }, () => undefined),
  });
}

describe("a service that is not in the replaced maps", () => {
  it("keeps its view, as one that cannot be read now, while Cilium may be filling them, and is gone after that", async () => {
    const { agent, clock, last } = watching();
    agent.setService(VIP, [pod(1)]);
    await clock.advanceAsync(100);
    expect(last()).toBe("view 1");
    agent.replaceMaps({ refill: false });
    await clock.advanceAsync(3_000);
    expect(last()).toBe("unavailable");
    await clock.advanceAsync(55_000);
    expect(last()).toBe("unavailable");
    await clock.advanceAsync(7_000);
    expect(last()).toBe("absent");
  });
});

describe("a name whose address changes", () => {
  it("comes back to a frontend that has not changed since it was followed", async () => {
    const watched = watching();
    const { agent, clock, last } = watched;
    agent.setService(VIP, [pod(1)]);
    agent.setService(OTHER_VIP, [pod(2)]);
    await clock.advanceAsync(100);
    expect(last()).toBe("view 1");
    watched.addresses = [OTHER_VIP.address];
    await clock.advanceAsync(100);
    expect(last()).toBe("view 2");
    watched.addresses = [VIP.address];
    await clock.advanceAsync(100);
    expect(last()).toBe("view 1");
  });
});

describe("a frontend of the L7 proxy", () => {
  it("stays one after a moment of doubt", async () => {
    const { agent, fake, clock, told, last } = watching();
    agent.setService({ ...VIP, flags: ["l7Proxy"], l7ProxyPort: 12_345 }, [pod(1)]);
    await clock.advanceAsync(100);
    expect(last()).toBe("service-address");
    let isOdd = false;
    const calm = fake.onLookup(({ path, value }) => {
      isOdd = !isOdd;
      return path === SERVICES && value !== undefined && isOdd ? value.map((byte) => byte ^ 0x80) : undefined;
    });
    await clock.advanceAsync(200);
    expect([told.at(-1)]).toMatchObject([{ kind: "doubt" }]);
    calm();
    await clock.advanceAsync(2_000);
    expect(last()).toBe("service-address");
    expect(told.map(({ kind }) => kind)).not.toContain("view");
  });
});

describe("a master that is torn while it is read", () => {
  it("costs few look-ups whatever it counts, and the next look is right again", async () => {
    const { agent, fake, clock, told, last } = watching();
    agent.setService(VIP, [pod(1)]);
    await clock.advanceAsync(100);
    const calm = fake.onLookup(({ key, value }) => {
      const isMaster = key.length === 12 && key.subarray(6, 8).every((byte) => byte === 0);
      if (!isMaster || value === undefined) return undefined;
      const torn = value.slice();
      torn.fill(0xff, 4, 6);
      torn.fill(0xff, 10, 12);
      return torn;
    });
    const before = fake.lookupCount(SERVICES);
    await clock.advanceAsync(25);
    expect(fake.lookupCount(SERVICES) - before).toBeLessThan(1_000);
    await clock.advanceAsync(100);
    expect(told.map(({ kind }) => kind)).toEqual(["view", "doubt"]);
    calm();
    agent.setService(VIP, [pod(1), pod(2)]);
    await clock.advanceAsync(100);
    expect(last()).toBe("view 1 2");
  });
});

describe("maps that are replaced while a reader opens them", () => {
  it("T-43: a new services map is never read with the backends map of before", async () => {
    let old: { readonly reader: ReturnType<Kernel["open"]>; readonly stamp: string | undefined } | undefined;
    const { agent, fake, clock, told, last } = watching((kernel) => ({
      ...kernel,
      kind: "simulated",
      // While `old` is set, the agent has not come to the backends map yet.
      open: (path, shape) => (path === BACKENDS && old !== undefined ? old.reader : kernel.open(path, shape)),
      pinStamp: (path) => (path === BACKENDS && old !== undefined ? old.stamp : kernel.pinStamp(path)),
    }));
    agent.setService(OTHER_VIP, [pod(9)]);
    agent.setService(VIP, [pod(1)]);
    await clock.advanceAsync(1_100);
    expect(last()).toBe("view 1");
    old = {
      reader: fake.open(BACKENDS, { type: "hash", keySize: 4, valueSizes: [12] }),
      stamp: fake.pinStamp(BACKENDS),
    };
    agent.replaceMaps({ renumber: true, refill: false });
    await clock.advanceAsync(1_050);
    old = undefined;
    agent.deleteService(OTHER_VIP);
    agent.refill();
    // The backends map of before has pod 9 under that id.
    expect(agent.backendIdOf(pod(1).address, 8080)).toBe(1);
    await clock.advanceAsync(3_000);
    expect(last()).toBe("view 1");
    const seen = told.flatMap((update) =>
      update.kind === "view" ? update.endpoints.map(({ address }) => address) : [],
    );
    expect([...new Set(seen)]).toEqual([pod(1).address]);
  });

  it("a watch whose maps are closed for another one in the middle of a look says nothing of it", async () => {
    const { agent, clock, told, last, watch, other } = watching();
    agent.setService(VIP, [pod(1)]);
    await clock.advanceAsync(0);
    await clock.advanceAsync(999); // Pins are looked at each second.
    agent.setService(VIP, [pod(2)]);
    agent.replaceMaps();
    watch.refresh();
    await clock.advanceAsync(1);
    other.refresh();
    await clock.advanceAsync(10);
    expect(told.map(({ kind }) => kind)).toEqual(["view"]);
    await clock.advanceAsync(100);
    expect(last()).toBe("view 2");
  });
});

describe("an agent that stops for long in the middle", () => {
  it("the pods that are left are used after three looks that find the same gap", async () => {
    const { agent, clock, last, told } = watching();
    agent.setService(VIP, [pod(1), pod(2)]);
    await clock.advanceAsync(100);
    for (const { entry } of agent.serviceSteps(VIP, [pod(2), pod(3)])) if (entry === "backend 1") break;
    await clock.advanceAsync(60);
    expect(last()).toBe("doubt");
    await clock.advanceAsync(200);
    expect(last()).toBe("view 2");
    expect(told.filter(({ kind }) => kind === "doubt")).toHaveLength(1);
  });

  it("T-49: when every pod's entry is missing the last view stays", async () => {
    const { agent, clock, told, last } = watching();
    agent.setService(VIP, [pod(1), pod(2)]);
    await clock.advanceAsync(100);
    let taken = 0;
    for (const _ of agent.serviceSteps(VIP, [pod(3), pod(4)])) {
      taken += 1;
      if (taken === 2) break;
    }
    await clock.advanceAsync(5_000);
    expect(last()).toBe("doubt");
    expect(told.filter(({ kind }) => kind === "view")).toHaveLength(1);
    agent.setService(VIP, [pod(3), pod(4)]);
    await clock.advanceAsync(200);
    expect(last()).toBe("view 3 4");
  });
});
