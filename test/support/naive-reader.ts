/**
 * What a reader does that trusts a single pass: reads the master, its slots and their backends once, checks nothing, and
 * takes what it got. It stands beside onehop in the storm, to show that there was something to be caught.
 */
import { decodeBackend, encodeBackendKey } from "../../src/cilium/backend-map.js";
import { lbMaps } from "../../src/cilium/cilium-maps.js";
import type { Protocol } from "../../src/cilium/protocol.js";
import { decodeServiceMaster, decodeServiceSlot, encodeServiceKey } from "../../src/cilium/service-map.js";
import type { Kernel, MapReader } from "../../src/kernel/kernel.js";
import { podsFor, STORM_SERVICES, type StormService, vipOf } from "./storm-plan.js";

/** How often it took something that was never so. */
export interface NaiveFindings {
  views: number;
  /** A pod that never served the service. */
  foreign: number;
  /** A counted slot or its backend was not there. */
  missing: number;
  /** A pod stood in two slots. */
  duplicate: number;
  /** Bytes that do not decode. */
  malformed: number;
  /** Counted addresses of each whole view, sorted and joined: some were never declared so. */
  readonly sets: Map<StormService, Set<string>>;
}

export class NaiveReader {
  readonly findings: NaiveFindings = {
    views: 0,
    foreign: 0,
    missing: 0,
    duplicate: 0,
    malformed: 0,
    sets: new Map(STORM_SERVICES.map((service) => [service, new Set()])),
  };
  readonly #kernel: Kernel;
  readonly #directory: string;
  readonly #protocol: Protocol;
  #services: MapReader | undefined;
  #backends: MapReader | undefined;
  #stamp: string | undefined;

  constructor(kernel: Kernel, directory: string, protocol: Protocol) {
    this.#kernel = kernel;
    this.#directory = directory;
    this.#protocol = protocol;
  }

  /** Reads every service once. */
  read(): void {
    this.#openAgain();
    for (const service of STORM_SERVICES) {
      try {
        this.#readService(service);
      } catch {
        this.findings.malformed += 1;
      }
    }
  }

  /** How many of its whole views were no declared set: a mixture of two. */
  mixed(declared: Readonly<Record<StormService, readonly string[]>>): number {
    return [...this.findings.sets].reduce((sum, [service, sets]) => {
      const real = new Set(declared[service]);
      return sum + [...sets].filter((set) => !real.has(set)).length;
    }, 0);
  }

  close(): void {
    this.#services?.close();
    this.#backends?.close();
  }

  #openAgain(): void {
    const { services, backends } = lbMaps(4);
    const stamp = this.#kernel.pinStamp(`${this.#directory}/${backends.pin}`);
    if (stamp === this.#stamp || stamp === undefined) return;
    this.close();
    this.#services = this.#kernel.open(`${this.#directory}/${services.pin}`, services.shape);
    this.#backends = this.#kernel.open(`${this.#directory}/${backends.pin}`, backends.shape);
    this.#stamp = stamp;
  }

  #readService(service: StormService): void {
    const key = (slot: number): Uint8Array =>
      encodeServiceKey({ ...vipOf(service), slot, protocol: this.#protocol, scope: "external" });
    const value = new Uint8Array(12);
    const own = new Set(podsFor(service).map(({ address }) => address));
    if (this.#services?.lookup(key(0), value) !== true) return;
    const { count } = decodeServiceMaster(value);
    const addresses: string[] = [];
    for (let slot = 1; slot <= Math.min(count, 100); slot += 1) {
      if (!this.#services.lookup(key(slot), value)) continue;
      if (this.#backends?.lookup(encodeBackendKey(decodeServiceSlot(value).backendId), value) !== true) continue;
      addresses.push(decodeBackend(value).address);
    }
    this.findings.views += 1;
    if (addresses.length < count) this.findings.missing += 1;
    if (new Set(addresses).size < addresses.length) this.findings.duplicate += 1;
    if (addresses.some((address) => !own.has(address))) this.findings.foreign += 1;
    if (addresses.length === count) this.findings.sets.get(service)?.add(addresses.sort().join());
  }
}
