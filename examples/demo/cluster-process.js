// @ts-check
/** The demo's side of a cluster process. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** @import { Behaviour, Order, Report } from "./cluster.js" */
/** @import { PlannedCluster, PlannedPod } from "./plan.js" */
/** @import { PodNetwork } from "./pod-network.js" */

/**
 * @typedef {object} ClusterProcess
 * @property {PlannedCluster} plan
 * @property {(pod: PlannedPod, service: string) => Promise<void>} startPod
 * @property {(name: string, behaviour: Behaviour) => Promise<void>} behave
 * @property {(name: string) => Promise<number>} stopPod tells how many requests the pod has seen
 * @property {() => void} kill ends the process at once, as a power cut would
 */

/**
 * Starts a cluster with all its planned pods.
 *
 * @param {PlannedCluster} plan
 * @param {string} service
 * @param {PodNetwork} network
 * @returns {Promise<ClusterProcess>}
 */
export async function startCluster(plan, service, network) {
  // Ctrl-C reaches the whole process group; the children leave it to the demo, whose end ends them.
  const child = fork(fileURLToPath(new URL("./cluster.js", import.meta.url)), {
    detached: true,
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const order = orders(child);
  /** @type {ClusterProcess} */
  const cluster = {
    plan,
    async startPod({ name, address }, of) {
      const { port } = network;
      const listen = network.kind === "addresses" ? { address, port } : { address: "127.0.0.1", port: 0 };
      const pod = { service: of, cluster: plan.name, name, address, port, listen, latencyMs: plan.latencyMs };
      const report = await order({ do: "start", pod });
      network.route(address, report.port ?? 0);
    },
    async behave(name, behaviour) {
      await order({ do: "behave", pod: name, behaviour });
    },
    async stopPod(name) {
      return (await order({ do: "stop", pod: name })).requests ?? 0;
    },
    kill() {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        process.kill(child.pid, "SIGKILL");
      }
    },
  };
  try {
    for (const pod of plan.pods) await cluster.startPod(pod, service);
  } catch (error) {
    cluster.kill();
    throw error;
  }
  return cluster;
}

/**
 * Sends orders to a child and resolves with its reports.
 *
 * @param {import("node:child_process").ChildProcess} child
 */
function orders(child) {
  /** @type {Map<number, { resolve: (report: Report) => void, reject: (error: Error) => void }>} */
  const open = new Map();
  let lastId = 0;
  child.on("message", (/** @type {Report} */ report) => {
    const waiting = open.get(report.id);
    open.delete(report.id);
    if (report.error === undefined) waiting?.resolve(report);
    else waiting?.reject(new Error(report.error));
  });
  /** @param {Error} error */
  const lost = (error) => {
    for (const { reject } of open.values()) reject(error);
    open.clear();
  };
  child.on("error", lost);
  child.on("exit", () => lost(new Error("the cluster's process has ended")));
  return (/** @type {Order} */ order) =>
    /** @type {Promise<Report>} */ (
      new Promise((resolve, reject) => {
        lastId += 1;
        open.set(lastId, { resolve, reject });
        child.send({ id: lastId, ...order }, (error) => {
          if (error !== null) lost(error);
        });
      })
    );
}
