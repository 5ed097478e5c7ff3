import { IPCACHE_MAPS, lbMaps } from "../cilium/cilium-maps.js";
import { isOnehopError } from "../errors.js";
import type { Kernel, MapReader } from "../kernel/kernel.js";
import type { IpFamily } from "../model/ip-address.js";

/** The maps of one address family that a frontend is read from. */
export interface FamilyMaps {
  readonly family: IpFamily;
  readonly services: MapReader;
  readonly backends: MapReader;
  readonly reverseNat: MapReader;
  /**
   * Whether these are the maps that are pinned now. Asked before a change is adopted: maps of before and after a
   * replacement give backends of other services, where Cilium has given the ids anew.
   */
  isCurrent(): boolean;
}

/**
 * The pinned maps of one node, opened when first needed and opened again when Cilium has pinned others in their place:
 * an open map of an old pin is never updated again, and nothing but the pin tells.
 */
export class CiliumMapSet {
  readonly #kernel: Kernel;
  readonly #directory: string;
  readonly #open = new Map<string, { readonly reader: MapReader; readonly stamp: string | undefined }>();
  readonly #families = new Map<IpFamily, FamilyMaps>();
  #ipcache: MapReader | undefined;

  /** @param directory where the maps are pinned */
  constructor(kernel: Kernel, directory: string) {
    this.#kernel = kernel;
    this.#directory = directory;
  }

  /**
   * @throws OnehopError `ERR_ONEHOP_KERNEL` when a map cannot be opened; maps of a family that Cilium does not use have
   * no pins
   */
  family(family: IpFamily): FamilyMaps {
    const known = this.#families.get(family);
    if (known !== undefined) return known;
    const { services, backends, reverseNat } = lbMaps(family);
    const pins = [services.pin, backends.pin, reverseNat.pin];
    const maps: FamilyMaps = {
      family,
      services: this.#openMap(services.pin, services.shape),
      backends: this.#openMap(backends.pin, backends.shape),
      reverseNat: this.#openMap(reverseNat.pin, reverseNat.shape),
      isCurrent: () => !pins.some((pin) => this.#isReplaced(`${this.#directory}/${pin}`)),
    };
    this.#families.set(family, maps);
    return maps;
  }

  /**
   * The ipcache that Cilium keeps up to date: the newer one where both are pinned.
   *
   * @throws OnehopError `ERR_ONEHOP_KERNEL` when none can be opened
   */
  ipcache(): MapReader {
    if (this.#ipcache !== undefined) return this.#ipcache;
    const [newer, older] = IPCACHE_MAPS;
    try {
      this.#ipcache = this.#openMap(newer.pin, newer.shape);
    } catch (error) {
      if (!isOnehopError(error) || error.reason !== "no-pin") throw error;
      this.#ipcache = this.#openMap(older.pin, older.shape);
    }
    return this.#ipcache;
  }

  /**
   * Looks whether other maps are pinned now; if so, closes all, so that they are opened anew. A pin that is gone is no
   * reason: the map it named is still the best there is.
   *
   * @returns the paths that were replaced
   */
  closeReplaced(): readonly string[] {
    const replaced = [...this.#open.keys()].filter((path) => this.#isReplaced(path));
    const newerIpcache = `${this.#directory}/${IPCACHE_MAPS[0].pin}`;
    if (this.#ipcache !== undefined && !this.#open.has(newerIpcache)) {
      if (this.#kernel.pinStamp(newerIpcache) !== undefined) replaced.push(newerIpcache);
    }
    if (replaced.length > 0) this.close();
    return replaced;
  }

  /** Closes every map. */
  close(): void {
    for (const { reader } of this.#open.values()) reader.close();
    this.#open.clear();
    this.#families.clear();
    this.#ipcache = undefined;
  }

  #isReplaced(path: string): boolean {
    const now = this.#kernel.pinStamp(path);
    return now !== undefined && now !== this.#open.get(path)?.stamp;
  }

  #openMap(pin: string, shape: Parameters<Kernel["open"]>[1]): MapReader {
    const path = `${this.#directory}/${pin}`;
    const known = this.#open.get(path);
    if (known !== undefined) return known.reader;
    // The stamp first: a pin replaced in between is then noticed at the next look.
    const stamp = this.#kernel.pinStamp(path);
    const reader = this.#kernel.open(path, shape);
    this.#open.set(path, { reader, stamp });
    return reader;
  }
}
