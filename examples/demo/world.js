// @ts-check
/** The clusters with their pods, and the agent that writes into the maps what Kubernetes tells it. */
import { createCiliumAgent } from "../../dist/testing/cilium-agent.js";
import { startCluster } from "./cluster-process.js";
import { BILLING, CLUSTERS, OWN, QUOTES } from "./plan.js";

/** @import { CiliumAgent } from "../../dist/testing/cilium-agent.js" */
/** @import { ClusterProcess } from "./cluster-process.js" */
/** @import { Maps } from "./maps.js" */
/** @import { PlannedPod } from "./plan.js" */
/** @import { PodNetwork } from "./pod-network.js" */

export class World {
  /** @type {CiliumAgent} */
  #agent;
  /** @type {PodNetwork} */
  #network;
  /** @type {ClusterProcess[]} */
  #clusters = [];
  /** The pods that the maps give to the service. */
  #members = CLUSTERS.flatMap(({ pods }) => pods);
  /** Names of pods by address, for the display. */
  podNames = new Map(this.#members.map(({ name, address }) => [address, name]));
  /** Requests that reached the other service's pod on the recycled address. */
  strayRequests = 0;

  /**
   * @param {Maps} maps
   * @param {PodNetwork} network
   */
  constructor(maps, network) {
    this.#agent = createCiliumAgent({ maker: maps.maker, directory: maps.directory, families: [4] });
    this.#network = network;
  }

  /** Starts the clusters and fills the maps: identities first, as the agent does. */
  async start() {
    for (const plan of CLUSTERS) this.#clusters.push(await startCluster(plan, QUOTES.name, this.#network));
    this.#agent.start();
    this.#agent.setIdentity(OWN.address, OWN.identity);
    for (const { identity, pods } of CLUSTERS) {
      for (const { address } of pods) this.#agent.setIdentity(address, identity);
    }
    this.#agent.setService(BILLING, []);
    this.#writeService();
  }

  /** Ends the cluster processes and removes the pins. */
  close() {
    for (const cluster of this.#clusters) cluster.kill();
    this.#agent.close();
  }

  /** How many map entries were written so far. */
  get mapChanges() {
    return this.#agent.changes;
  }

  /** @param {string} name */
  cluster(name) {
    const cluster = this.#clusters.find(({ plan }) => plan.name === name);
    if (cluster === undefined) throw new Error(`no cluster ${name}`);
    return cluster;
  }

  /**
   * A new pod comes and takes the place of another one: Kubernetes starts it, then the maps list it.
   *
   * @param {ClusterProcess} cluster
   * @param {PlannedPod} old
   * @param {PlannedPod} fresh
   */
  async replace(cluster, old, fresh) {
    await cluster.startPod(fresh, QUOTES.name);
    this.podNames.set(fresh.address, fresh.name);
    this.#agent.setIdentity(fresh.address, cluster.plan.identity);
    this.#members.push(fresh);
    this.forget(old);
    await cluster.stopPod(old.name);
    this.#agent.deleteIdentity(old.address);
  }

  /**
   * The maps list the pod no more.
   *
   * @param {PlannedPod} pod
   */
  forget(pod) {
    this.#members = this.#members.filter(({ address }) => address !== pod.address);
    this.#writeService();
  }

  /**
   * The ipcache says that an address belongs to a pod of the other service now.
   *
   * @param {string} address
   */
  giveToBilling(address) {
    this.#agent.setIdentity(address, BILLING.identity);
  }

  #writeService() {
    const backends = this.#members.map(({ address }) => ({ address, port: this.#network.port }));
    this.#agent.setService(QUOTES, backends);
  }
}
