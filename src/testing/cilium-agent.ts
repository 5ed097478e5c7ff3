import { CILIUM_VERSIONS, type CiliumVersion, type CiliumVersionName } from "../cilium/cilium-versions.js";
import { encodeIpcacheKey, encodeIpcacheValue } from "../cilium/ipcache-map.js";
import type { Protocol } from "../cilium/protocol.js";
import type { MapMaker } from "../kernel/kernel.js";
import { identityInCluster, type MaxConnectedClusters } from "../model/identity.js";
import type { IpFamily } from "../model/ip-address.js";
import { AgentMaps, type MapOperation } from "./agent-maps.js";
import { type AgentBackend, type AgentFrontend, type FrontendName, frontendKey } from "./agent-service.js";
import { ServiceWriter } from "./service-writer.js";

/** Options of {@link createCiliumAgent}. */
export interface CiliumAgentOptions {
  readonly maker: MapMaker;
  /** Directory to pin in; on a bpffs where the maker is the real kernel's. */
  readonly directory: string;
  /** Whose maps and order of operations. Default `1.20`. */
  readonly version?: CiliumVersionName;
  /** Maps of other families are not pinned. Default both. */
  readonly families?: readonly IpFamily[];
  /** Where the cluster's number is in identities that {@link CiliumAgent.identityIn} makes. Default 255. */
  readonly maxConnectedClusters?: MaxConnectedClusters;
}

/** How an identity is entered in the ipcache. */
export interface IdentityEntryOptions {
  /** Default: the whole address. */
  readonly prefixLength?: number;
  /** Address of the node that hosts the pod. Default none. */
  readonly node?: string;
}

/** How maps are replaced. */
export interface ReplaceOptions {
  /** Give ids anew from 1 on, as an agent does that could not restore them. Default false. */
  readonly renumber?: boolean;
  /** Fill the new maps at once. Default true; else {@link CiliumAgent.refill} does. */
  readonly refill?: boolean;
}

/**
 * A stand-in for Cilium's agent: it pins maps of one version's shapes and writes services and identities into them, byte
 * for byte, in that version's order of operations.
 */
export interface CiliumAgent {
  readonly version: CiliumVersionName;
  /** Elements written so far whose bytes were others before, or that came or went. */
  readonly changes: number;
  /** Makes and pins all maps. */
  start(): void;
  /** Brings a frontend to the desired state. */
  setService(frontend: AgentFrontend, backends: readonly AgentBackend[]): void;
  /**
   * The same, one write for each step that is taken; whoever stops in the middle has an agent that died there. What it
   * left is mended by the next update of the frontend.
   */
  serviceSteps(frontend: AgentFrontend, backends: readonly AgentBackend[]): Iterable<MapOperation>;
  deleteService(frontend: FrontendName): void;
  /** As {@link CiliumAgent.serviceSteps}, for a removal. */
  deleteSteps(frontend: FrontendName): Iterable<MapOperation>;
  setIdentity(address: string, identity: number, options?: IdentityEntryOptions): void;
  deleteIdentity(address: string, prefixLength?: number): void;
  /** The identity number of `low` in a cluster of this mesh. */
  identityIn(clusterNumber: number, low: number): number;
  /** Makes new maps, pins them over the old ones, and fills them. */
  replaceMaps(options?: ReplaceOptions): void;
  /** Writes every service and identity again, after `replaceMaps({ refill: false })`. */
  refill(): void;
  /** Undefined when no frontend uses such a backend. */
  backendIdOf(address: string, port: number, protocol?: Protocol): number | undefined;
  /** The number that the entries of a frontend carry. */
  revNatOf(frontend: FrontendName): number | undefined;
  /** Removes the pins and closes the maps. */
  close(): void;
}

/** Makes a stand-in agent; `start()` pins its maps. For tests, demo and lab: it never touches pins of Cilium. */
export function createCiliumAgent(options: CiliumAgentOptions): CiliumAgent {
  return new StandInAgent(options);
}

class StandInAgent implements CiliumAgent {
  readonly #version: CiliumVersion;
  readonly #maxConnectedClusters: MaxConnectedClusters;
  readonly #maps: AgentMaps;
  readonly #writer: ServiceWriter;
  /** Desired services by frontend. */
  readonly #services = new Map<string, readonly [AgentFrontend, readonly AgentBackend[]]>();
  /** Writers of the ipcache entries by prefix. */
  readonly #identities = new Map<string, () => MapOperation>();
  #changes = 0;

  constructor(options: CiliumAgentOptions) {
    const { maker, directory, version = "1.20", families = [4, 6], maxConnectedClusters = 255 } = options;
    const known = CILIUM_VERSIONS.find((candidate) => candidate.version === version);
    if (known === undefined) throw new RangeError(`no Cilium version "${version}" is known`);
    this.#version = known;
    this.#maxConnectedClusters = maxConnectedClusters;
    this.#maps = new AgentMaps({ maker, directory, version: known, families });
    this.#writer = new ServiceWriter(this.#maps, known);
  }

  get version(): CiliumVersionName {
    return this.#version.version;
  }

  get changes(): number {
    return this.#changes;
  }

  start(): void {
    this.#maps.make();
  }

  setService(frontend: AgentFrontend, backends: readonly AgentBackend[]): void {
    for (const _ of this.serviceSteps(frontend, backends));
  }

  *serviceSteps(frontend: AgentFrontend, backends: readonly AgentBackend[]): Generator<MapOperation, void, void> {
    this.#services.set(frontendKey(frontend), [frontend, backends]);
    yield* this.#counted(this.#writer.update(frontend, backends));
  }

  deleteService(frontend: FrontendName): void {
    for (const _ of this.deleteSteps(frontend));
  }

  *deleteSteps(frontend: FrontendName): Generator<MapOperation, void, void> {
    this.#services.delete(frontendKey(frontend));
    yield* this.#counted(this.#writer.delete(frontend));
  }

  setIdentity(address: string, identity: number, options: IdentityEntryOptions = {}): void {
    const key = encodeIpcacheKey(address, options.prefixLength);
    const value = encodeIpcacheValue(
      {
        identity,
        tunnelEndpoint: options.node,
        encryptKey: undefined,
        skipTunnel: false,
        hasTunnel: undefined,
        remoteCluster: undefined,
      },
      this.#version.ipcache === "cilium_ipcache" ? 1 : 2,
    );
    const write = (): MapOperation => this.#maps.ipcache().update(`identity of ${address}`, key, value);
    this.#identities.set(key.join(), write);
    this.#count(write());
  }

  deleteIdentity(address: string, prefixLength?: number): void {
    const key = encodeIpcacheKey(address, prefixLength);
    this.#identities.delete(key.join());
    this.#count(this.#maps.ipcache().delete(`identity of ${address}`, key));
  }

  identityIn(clusterNumber: number, low: number): number {
    return identityInCluster(clusterNumber, low, this.#maxConnectedClusters);
  }

  replaceMaps({ renumber = false, refill = true }: ReplaceOptions = {}): void {
    this.#maps.make();
    this.#writer.forgetWritten(renumber);
    if (refill) this.refill();
  }

  refill(): void {
    for (const write of this.#identities.values()) this.#count(write());
    for (const [frontend, backends] of this.#services.values()) this.setService(frontend, backends);
  }

  backendIdOf(address: string, port: number, protocol: Protocol = "tcp"): number | undefined {
    return this.#writer.backendIdOf(address, port, protocol);
  }

  revNatOf(frontend: FrontendName): number | undefined {
    return this.#writer.revNatOf(frontend);
  }

  close(): void {
    this.#maps.close();
  }

  *#counted(operations: Iterable<MapOperation>): Generator<MapOperation, void, void> {
    for (const operation of operations) {
      this.#count(operation);
      yield operation;
    }
  }

  #count(operation: MapOperation): void {
    if (operation.isChange) this.#changes += 1;
  }
}
