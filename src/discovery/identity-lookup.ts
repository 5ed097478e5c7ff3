import { decodeIpcacheValue, encodeIpcacheKey } from "../cilium/ipcache-map.js";
import type { MapReader } from "../kernel/kernel.js";
import { type Identity, identityKind } from "../model/identity.js";

/** What the ipcache says of an address. */
export interface AddressIdentity {
  /** Undefined when only a covering prefix answered: that says nothing of the pod. */
  readonly identity: Identity | undefined;
  /** Address of the node that hosts the pod; undefined for pods of this node, and in native routing. */
  readonly node: string | undefined;
}

const UNKNOWN: AddressIdentity = Object.freeze({ identity: undefined, node: undefined });

/** How often a look-up is repeated until two in a row agree. */
const MOST_READS = 4;

/** Reserved identities that are given to address ranges: what answers for them may cover any pod. */
const COVERING: ReadonlySet<number> = new Set([2, 9, 10]);

/**
 * Looks an address up in the ipcache by longest prefix. An entry that lags behind the pod lets a covering prefix answer
 * (world, a CIDR): that counts as unknown.
 *
 * @throws OnehopError `ERR_ONEHOP_KERNEL` when the map cannot be read, `ERR_ONEHOP_MALFORMED` when a value does not
 * decode
 */
export function lookUpIdentity(ipcache: MapReader, address: string): AddressIdentity {
  const key = encodeIpcacheKey(address);
  const value = new Uint8Array(ipcache.info.valueSize);
  const again = new Uint8Array(ipcache.info.valueSize);
  let isPresent = ipcache.lookup(key, value);
  for (let reads = 1; reads < MOST_READS; reads += 1) {
    const isStill = ipcache.lookup(key, again);
    if (isStill === isPresent && (!isPresent || Buffer.compare(value, again) === 0)) break;
    isPresent = isStill;
    value.set(again);
  }
  if (!isPresent) return UNKNOWN;
  const { identity: number, tunnelEndpoint: node } = decodeIpcacheValue(value);
  const kind = identityKind(number);
  const isCovering = kind === "unknown" || kind === "cidr" || COVERING.has(number);
  return { identity: isCovering ? undefined : { number, labels: undefined }, node };
}
