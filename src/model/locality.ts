/** Where an endpoint runs. Every part may be unknown. */
export interface Locality {
  /** Number of the cluster in the mesh; 0 in a cluster without mesh. */
  readonly clusterNumber: number | undefined;
  /** Name of the cluster, from configuration or from a source that knows it. */
  readonly cluster: string | undefined;
  /** Zone name, or `#number` where only Cilium's numeric zone id is known. */
  readonly zone: string | undefined;
  /** Address or name of the node that hosts the pod. */
  readonly node: string | undefined;
}

export const UNKNOWN_LOCALITY: Locality = Object.freeze({
  clusterNumber: undefined,
  cluster: undefined,
  zone: undefined,
  node: undefined,
});

/** The cluster for people and records: its name, else `#number`, else undefined. */
export function clusterLabel(locality: Locality): string | undefined {
  return locality.cluster ?? (locality.clusterNumber === undefined ? undefined : `#${locality.clusterNumber}`);
}
