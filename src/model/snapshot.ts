import type { Endpoint } from "./endpoint.js";

/** One immutable view of a service: what a picker is built from. Unchanged endpoints are the same objects as before. */
export interface Snapshot {
  /** Counts the adopted views of the service, from 1. */
  readonly generation: number;
  /** The discovery that delivered it, such as `bpf` or `service-address`. */
  readonly source: string;
  /** Sorted by key, each key once. */
  readonly endpoints: readonly Endpoint[];
}

/** What changed from one snapshot to the next. */
export interface SnapshotDiff {
  readonly added: readonly Endpoint[];
  readonly removed: readonly Endpoint[];
  /** Same key, other state, identity or locality. */
  readonly changed: readonly { readonly before: Endpoint; readonly after: Endpoint }[];
}

/**
 * The next snapshot; endpoints that are equal to those of `previous` are taken from it.
 *
 * @returns `previous` itself when nothing changed
 */
export function nextSnapshot(previous: Snapshot | undefined, source: string, endpoints: readonly Endpoint[]): Snapshot {
  const known = new Map(previous?.endpoints.map((endpoint) => [endpoint.key, endpoint]));
  const unique = new Map<string, Endpoint>();
  for (const endpoint of endpoints) {
    const before = known.get(endpoint.key);
    unique.set(endpoint.key, before !== undefined && isSameEndpoint(before, endpoint) ? before : endpoint);
  }
  const sorted = [...unique.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  if (
    previous !== undefined &&
    previous.source === source &&
    previous.endpoints.length === sorted.length &&
    previous.endpoints.every((endpoint, index) => endpoint === sorted[index])
  ) {
    return previous;
  }
  return { generation: (previous?.generation ?? 0) + 1, source, endpoints: sorted };
}

export function diffSnapshots(before: Snapshot | undefined, after: Snapshot): SnapshotDiff {
  const old = new Map(before?.endpoints.map((endpoint) => [endpoint.key, endpoint]));
  const added: Endpoint[] = [];
  const changed: { before: Endpoint; after: Endpoint }[] = [];
  for (const endpoint of after.endpoints) {
    const previous = old.get(endpoint.key);
    if (previous === undefined) added.push(endpoint);
    else if (previous !== endpoint) changed.push({ before: previous, after: endpoint });
    old.delete(endpoint.key);
  }
  return { added, removed: [...old.values()], changed };
}

function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return (
    a.backendId === b.backendId &&
    a.state === b.state &&
    a.kind === b.kind &&
    a.identity?.number === b.identity?.number &&
    a.identity?.labels?.join("\n") === b.identity?.labels?.join("\n") &&
    a.locality.clusterNumber === b.locality.clusterNumber &&
    a.locality.cluster === b.locality.cluster &&
    a.locality.zone === b.locality.zone &&
    a.locality.node === b.locality.node
  );
}
