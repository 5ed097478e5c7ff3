import type { Endpoint } from "../model/endpoint.js";
import type { Locality } from "../model/locality.js";

/**
 * In which order clusters are used. `"any"`: all alike. A list: one tier for each entry, a later one only where those
 * before it do not serve. An entry is a cluster's name, `#number`, `"local"` for the own cluster, or `"*"` for all
 * clusters that no other entry means. Clusters that nothing means come last, together.
 */
export type LocalityOrder = "any" | readonly string[];

/** The own cluster, then the others together: nearest first, and no cluster but the own one is special. */
export const DEFAULT_LOCALITY_ORDER: LocalityOrder = Object.freeze(["local", "*"]);

/** The cluster this process runs in, as far as it is known. */
export interface LocalCluster {
  readonly number: number | undefined;
  readonly name: string | undefined;
}

/**
 * Groups endpoints into failover tiers, the preferred one first. Every endpoint is in exactly one tier, within a tier
 * they keep their order, and no tier is empty.
 *
 * Endpoints of an unknown cluster go with the last entry, because they may be far away. Where the order speaks of
 * `"local"` and the own cluster is not known, all endpoints are one tier: nobody can say which are near, and any order
 * would send every call to some cluster by accident.
 */
export function localityTiers(
  endpoints: readonly Endpoint[],
  order: LocalityOrder,
  local: LocalCluster | undefined,
): readonly (readonly Endpoint[])[] {
  if (endpoints.length === 0) return [];
  if (order === "any" || (order.includes("local") && !isKnown(local))) return [endpoints];
  const star = order.indexOf("*");
  const rest = star >= 0 ? star : order.length;
  const last = star >= 0 ? order.length - 1 : order.length;
  const tiers = Array.from({ length: last + 1 }, (): Endpoint[] => []);
  for (const endpoint of endpoints) {
    tiers[tierOf(endpoint.locality, order, local, rest, last)]?.push(endpoint);
  }
  return tiers.filter((tier) => tier.length > 0);
}

function tierOf(
  { cluster, clusterNumber }: Locality,
  order: readonly string[],
  local: LocalCluster | undefined,
  rest: number,
  last: number,
): number {
  if (cluster === undefined && clusterNumber === undefined) return last;
  const isLocal = isSameCluster(cluster, clusterNumber, local);
  const named = order.findIndex(
    (entry) =>
      (entry === "local" && isLocal) ||
      (entry !== "local" && entry !== "*" && (entry === cluster || entry === `#${clusterNumber}`)),
  );
  return named >= 0 ? named : rest;
}

/** By number where both are known, which is what the maps hold; by name otherwise. */
function isSameCluster(name: string | undefined, number: number | undefined, local: LocalCluster | undefined): boolean {
  if (number !== undefined && local?.number !== undefined) return number === local.number;
  return name !== undefined && name === local?.name;
}

function isKnown(local: LocalCluster | undefined): boolean {
  return local?.number !== undefined || local?.name !== undefined;
}
