// @ts-check
/** A cluster: a process of its own with HTTP servers for pods, run by orders from the demo. */
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { listeningPort } from "./pod-network.js";

/** @typedef {"healthy" | "failing" | "hanging"} Behaviour */

/**
 * @typedef {object} PodOrder
 * @property {string} service
 * @property {string} cluster
 * @property {string} name
 * @property {string} address address of the pod
 * @property {number} port port of the pod
 * @property {{ address: string, port: number }} listen where it listens really
 * @property {number} latencyMs
 */

/**
 * @typedef {{ do: "start", pod: PodOrder } | { do: "behave", pod: string, behaviour: Behaviour } | { do: "stop", pod: string }} Order
 */

/**
 * What comes back: the port a started pod listens on, or how many requests a stopped one has seen.
 *
 * @typedef {{ id: number, port?: number, requests?: number, error?: string }} Report
 */

/** @type {Map<string, Awaited<ReturnType<typeof startPod>>>} */
const pods = new Map();

process.on("message", async (/** @type {Order & { id: number }} */ order) => {
  try {
    process.send?.({ id: order.id, ...(await carryOut(order)) });
  } catch (error) {
    process.send?.({ id: order.id, error: String(error) });
  }
});

// The demo is gone, however it ended: nothing is left to do here.
process.on("disconnect", () => process.exit(0));

/**
 * @param {Order} order
 * @returns {Promise<Omit<Report, "id">>}
 */
async function carryOut(order) {
  if (order.do === "start") {
    const pod = await startPod(order.pod);
    pods.set(order.pod.name, pod);
    return { port: pod.port };
  }
  const pod = pods.get(order.pod);
  if (pod === undefined) throw new Error(`no pod ${order.pod} runs in this cluster`);
  if (order.do === "behave") {
    pod.state.behaviour = order.behaviour;
    return {};
  }
  pods.delete(order.pod);
  pod.server.close();
  pod.server.closeAllConnections();
  return { requests: pod.state.requests };
}

/** @param {PodOrder} pod */
async function startPod(pod) {
  const state = { behaviour: /** @type {Behaviour} */ ("healthy"), requests: 0 };
  const server = createServer(async (_request, response) => {
    state.requests += 1;
    if (state.behaviour === "hanging") return;
    // Between half and one and a half of the latency, and a quick failure where the pod fails.
    await sleep(state.behaviour === "failing" ? 1 : pod.latencyMs * (0.5 + Math.random()));
    response.writeHead(state.behaviour === "failing" ? 503 : 200, { "content-type": "application/json" });
    const { service, cluster, name } = pod;
    response.end(JSON.stringify({ service, cluster, pod: name, eurPerMwh: 84.2 }));
  });
  server.listen(pod.listen.port, pod.listen.address);
  await once(server, "listening");
  return { server, state, port: listeningPort(server) };
}
