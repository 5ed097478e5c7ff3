import { type CiliumMap, IPCACHE_MAPS, lbMaps } from "../cilium/cilium-maps.js";
import type { CiliumVersion } from "../cilium/cilium-versions.js";
import type { MapMaker, WritableMap } from "../kernel/kernel.js";
import type { IpFamily } from "../model/ip-address.js";

/** One write to one map: what a reader may come between. */
export interface MapOperation {
  readonly action: "update" | "delete";
  /** Name of the pin. */
  readonly pin: string;
  /** What was written, for people and tests: `slot 2`, `backend 7`. */
  readonly entry: string;
  /** Whether the bytes in the map are others than before. */
  readonly isChange: boolean;
}

/** Where and how the maps are made. */
export interface AgentMapsOptions {
  readonly maker: MapMaker;
  /** Directory to pin in; on a bpffs where the maker is the real kernel's. */
  readonly directory: string;
  readonly version: CiliumVersion;
  readonly families: readonly IpFamily[];
}

/** Room in the load-balancing maps: Cilium's default of `bpf-lb-map-max`. */
const LB_ENTRIES = 65_536;

/** Room in the ipcache, fixed in Cilium. */
const IPCACHE_ENTRIES = 512_000;

/** One pinned map, and a note of what stands in it. */
export class AgentMap {
  readonly pin: string;
  readonly #map: WritableMap;
  /** Values by key, both as text of one character a byte. */
  readonly #content = new Map<string, string>();

  constructor(pin: string, map: WritableMap) {
    this.pin = pin;
    this.#map = map;
  }

  get writable(): WritableMap {
    return this.#map;
  }

  update(entry: string, key: Uint8Array, value: Uint8Array): MapOperation {
    this.#map.update(key, value);
    const text = textOf(value);
    const isChange = this.#content.get(textOf(key)) !== text;
    this.#content.set(textOf(key), text);
    return { action: "update", pin: this.pin, entry, isChange };
  }

  /** Deletes an entry; one that is not there is left alone, as the agent does. */
  delete(entry: string, key: Uint8Array): MapOperation {
    const isChange = this.#map.delete(key);
    this.#content.delete(textOf(key));
    return { action: "delete", pin: this.pin, entry, isChange };
  }
}

/** The pinned maps of an agent of one version. */
export class AgentMaps {
  readonly #options: AgentMapsOptions;
  readonly #maps = new Map<string, AgentMap>();

  constructor(options: AgentMapsOptions) {
    this.#options = options;
  }

  /**
   * Makes every map anew and pins it, over the one before where there was one, as an agent does that finds maps of
   * another shape: unlink, pin, one after the other. The new maps are empty.
   */
  make(): void {
    const { families, version } = this.#options;
    for (const family of families) {
      const { services, backends, reverseNat } = lbMaps(family);
      for (const map of [services, backends, reverseNat]) this.#make(map, LB_ENTRIES);
    }
    const ipcache = IPCACHE_MAPS.find(({ pin }) => pin === version.ipcache);
    if (ipcache !== undefined) this.#make(ipcache, IPCACHE_ENTRIES);
  }

  services(family: IpFamily): AgentMap {
    return this.#get(lbMaps(family).services.pin);
  }

  backends(family: IpFamily): AgentMap {
    return this.#get(lbMaps(family).backends.pin);
  }

  reverseNat(family: IpFamily): AgentMap {
    return this.#get(lbMaps(family).reverseNat.pin);
  }

  ipcache(): AgentMap {
    return this.#get(this.#options.version.ipcache);
  }

  /** Removes the pins and closes the maps. Idempotent. */
  close(): void {
    for (const map of this.#maps.values()) {
      this.#options.maker.unpin(this.#pathOf(map.pin));
      map.writable.close();
    }
    this.#maps.clear();
  }

  #make({ pin, shape }: CiliumMap, maxEntries: number): void {
    const { maker } = this.#options;
    const writable = maker.create(pin, { ...shape, maxEntries });
    maker.pin(writable, this.#pathOf(pin));
    this.#maps.get(pin)?.writable.close();
    this.#maps.set(pin, new AgentMap(pin, writable));
  }

  #get(pin: string): AgentMap {
    const map = this.#maps.get(pin);
    if (map === undefined) throw new Error(`the agent has no map ${pin}: not started, or its family is switched off`);
    return map;
  }

  #pathOf(pin: string): string {
    return `${this.#options.directory}/${pin}`;
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
