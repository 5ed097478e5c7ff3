// @ts-check
/** What the demo plays with: one service in three clusters, and another service that gets one of its addresses. */

/**
 * @typedef {object} PlannedPod
 * @property {string} name
 * @property {string} address
 */

/**
 * @typedef {object} PlannedCluster
 * @property {number} number the `cluster-id`, which Cilium puts into the upper bits of an identity
 * @property {string} name
 * @property {number} latencyMs how long its pods think, and the way to them
 * @property {number} identity security identity of the quotes pods of this cluster
 * @property {[PlannedPod, PlannedPod, PlannedPod]} pods
 */

/** The global service that is called, with its service address. */
export const QUOTES = { name: "quotes.energy", address: "10.96.7.7", port: 80 };

/** Another service of the own cluster. */
export const BILLING = { name: "billing.energy", address: "10.96.9.9", port: 80, identity: identityIn(1, 9_002) };

/** The address of the pod that calls: its identity tells onehop which cluster is the own one. */
export const OWN = { address: "127.0.1.5", identity: identityIn(1, 1_500) };

/**
 * The own cluster first, then the others in the order of preference.
 *
 * @type {readonly [PlannedCluster, PlannedCluster, PlannedCluster]}
 */
export const CLUSTERS = [
  { number: 1, name: "eu-west-1", latencyMs: 10, identity: identityIn(1, 4_711), pods: quotesPods(1) },
  { number: 2, name: "eu-central-1", latencyMs: 22, identity: identityIn(2, 1_203), pods: quotesPods(2) },
  { number: 3, name: "gke-eu", latencyMs: 35, identity: identityIn(3, 3_977), pods: quotesPods(3) },
];

/** The pod that Kubernetes starts in place of the one that hangs. */
export const REPLACEMENT = { name: "quotes-1d", address: "127.0.1.14" };

/** Every address that a pod of the demo may have. */
export const POD_ADDRESSES = [...CLUSTERS.flatMap(({ pods }) => pods), REPLACEMENT].map(({ address }) => address);

/**
 * @param {number} cluster
 * @returns {PlannedCluster["pods"]}
 */
function quotesPods(cluster) {
  return [
    { name: `quotes-${cluster}a`, address: `127.0.${cluster}.11` },
    { name: `quotes-${cluster}b`, address: `127.0.${cluster}.12` },
    { name: `quotes-${cluster}c`, address: `127.0.${cluster}.13` },
  ];
}

/**
 * Identity `low` of a cluster, as Cilium numbers them with up to 255 connected clusters.
 *
 * @param {number} cluster
 * @param {number} low
 */
function identityIn(cluster, low) {
  return (cluster << 16) | low;
}
