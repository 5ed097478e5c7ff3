import { lbMaps } from "../../src/cilium/cilium-maps.js";
import type { CiliumVersionName } from "../../src/cilium/cilium-versions.js";
import { encodeServiceKey, type ServiceKey } from "../../src/cilium/service-map.js";
import { bpfDiscovery } from "../../src/discovery/bpf-discovery.js";
import type { BpfDiscoveryOptions } from "../../src/discovery/bpf-options.js";
import type { Discovery, DiscoveryUpdate, DiscoveryWatch, WatchTarget } from "../../src/discovery/discovery.js";
import { ServiceView } from "../../src/discovery/service-view.js";
import { createFakeKernel, type FakeAnswer, type FakeKernel } from "../../src/kernel/fake-kernel.js";
import type { Endpoint } from "../../src/model/endpoint.js";
import type { MeshEvent, MeshEventOf, MeshEventType } from "../../src/model/event.js";
import type { ServiceRef } from "../../src/model/service-ref.js";
import type { AgentBackend } from "../../src/testing/agent-service.js";
import { type CiliumAgent, createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { ManualClock } from "./manual-clock.js";

export const DIRECTORY = "/sys/fs/bpf/tc/globals";
export const VIP = { address: "10.96.7.7", port: 80 };
export const OTHER_VIP = { address: "10.96.9.9", port: 80 };
export const OWN_ADDRESS = "10.1.0.200";
export const QUOTES: ServiceRef = {
  id: "quotes.energy",
  name: "quotes",
  namespace: "energy",
  domain: "cluster",
  host: "quotes.energy",
};

/** Pods 10.1.0.`id`, port 8080. */
export const pods = (...ids: readonly number[]): AgentBackend[] =>
  ids.map((id) => ({ address: `10.1.0.${id}`, port: 8080 }));

export const PINS = {
  services: `${DIRECTORY}/${lbMaps(4).services.pin}`,
  backends: `${DIRECTORY}/${lbMaps(4).backends.pin}`,
  reverseNat: `${DIRECTORY}/${lbMaps(4).reverseNat.pin}`,
};

export const serviceKey = (slot: number, more: Partial<ServiceKey> = {}): Uint8Array =>
  encodeServiceKey({ ...VIP, slot, protocol: "tcp", scope: "external", ...more });

export interface BpfRigOptions extends BpfDiscoveryOptions {
  readonly version?: CiliumVersionName;
}

/** `bpfDiscovery` over a fake kernel that a stand-in agent writes, on virtual time. */
export class BpfRig {
  readonly clock = new ManualClock(1_000_000);
  readonly kernel: FakeKernel = createFakeKernel();
  readonly agent: CiliumAgent;
  readonly discovery: Discovery;
  readonly events: MeshEvent[] = [];
  /** What the service's name resolves to; an error is thrown. */
  addresses: readonly string[] | Error = [VIP.address];

  constructor({ version = "1.20", ...options }: BpfRigOptions = {}) {
    this.agent = createCiliumAgent({ maker: this.kernel, directory: DIRECTORY, version });
    this.agent.start();
    this.discovery = bpfDiscovery({
      kernel: this.kernel,
      clock: this.clock,
      pinDirectory: DIRECTORY,
      ownAddresses: [OWN_ADDRESS],
      ...options,
    });
    this.discovery.attach({ notify: this.notify });
  }

  readonly notify = (event: MeshEvent): void => {
    this.events.push(event);
  };

  eventsOf<T extends MeshEventType>(type: T): MeshEventOf<T>[] {
    return this.events.filter((event): event is MeshEventOf<T> => event.type === type);
  }

  target(port = VIP.port): WatchTarget {
    return {
      service: QUOTES,
      port,
      addresses: async () => {
        if (this.addresses instanceof Error) throw this.addresses;
        return { addresses: this.addresses, ttlMs: 5_000 };
      },
    };
  }

  /** A watch with what it was told. */
  watch(port = VIP.port): Told {
    const updates: DiscoveryUpdate[] = [];
    const watch = this.discovery.watch(this.target(port), (update) => updates.push(update));
    return new Told(updates, watch);
  }

  /** A whole view over the discovery. */
  view(emptyGraceMs = 5_000): ServiceView {
    return new ServiceView(this.discovery, this.target(), {
      clock: this.clock,
      notify: this.notify,
      emptyGraceMs,
      dialService: false,
      onChange: () => undefined,
    });
  }

  pass(ms: number): Promise<void> {
    return this.clock.advanceAsync(ms);
  }

  /** Makes the kernel give another answer for one key. @returns the end of it */
  lie(path: string, key: Uint8Array, answer: () => FakeAnswer): () => void {
    return this.kernel.onLookup((lookup) =>
      lookup.path === path && Buffer.compare(lookup.key, key) === 0 ? answer() : undefined,
    );
  }

  /** Look-ups made in the load-balancing maps. */
  get lookups(): number {
    return Object.values(PINS).reduce((sum, path) => sum + this.kernel.lookupCount(path), 0);
  }

  /** Readers that are open, of all maps. */
  get openReaders(): number {
    const others = ["cilium_ipcache", "cilium_ipcache_v2", lbMaps(6).services.pin, lbMaps(6).backends.pin];
    const paths = [
      ...Object.values(PINS),
      ...[...others, lbMaps(6).reverseNat.pin].map((pin) => `${DIRECTORY}/${pin}`),
    ];
    return paths.reduce((sum, path) => sum + this.kernel.openReaders(path), 0);
  }
}

/** What one watch was told. */
export class Told {
  readonly updates: DiscoveryUpdate[];
  readonly watch: DiscoveryWatch;

  constructor(updates: DiscoveryUpdate[], watch: DiscoveryWatch) {
    this.updates = updates;
    this.watch = watch;
  }

  get last(): DiscoveryUpdate | undefined {
    return this.updates.at(-1);
  }

  get kinds(): DiscoveryUpdate["kind"][] {
    return this.updates.map(({ kind }) => kind);
  }

  /** The endpoints of the newest view that was told. */
  get endpoints(): readonly Endpoint[] {
    return this.updates.findLast((update) => update.kind === "view")?.endpoints ?? [];
  }

  /** The last number of each endpoint's address, sorted. */
  get ids(): number[] {
    return idsOf(this.endpoints);
  }

  ofKind<K extends DiscoveryUpdate["kind"]>(kind: K): Extract<DiscoveryUpdate, { kind: K }>[] {
    return this.updates.filter((update): update is Extract<DiscoveryUpdate, { kind: K }> => update.kind === kind);
  }

  /** Forgets what was told so far. */
  clear(): void {
    this.updates.length = 0;
  }
}

/** The last number of each pod's address, sorted. */
export function idsOf(endpoints: readonly Endpoint[]): number[] {
  return endpoints.map(({ address }) => Number(address.split(".").at(-1))).sort((a, b) => a - b);
}
