// @ts-check
/** Where the pods listen: on addresses of their own where the system has 127.0.x.y, else on ports of 127.0.0.1. */
import { once } from "node:events";
import net from "node:net";

/**
 * @typedef {object} PodNetwork
 * @property {"addresses" | "ports"} kind
 * @property {string} why
 * @property {number} port the port of every pod, as the maps have it
 * @property {(address: string, port: number) => void} route tells on which port of 127.0.0.1 the pod of an address is
 */

/**
 * Linux gives every process all of 127.0.0.0/8, other systems 127.0.0.1 only: tried by binding.
 *
 * @param {readonly string[]} addresses
 * @returns {Promise<PodNetwork>}
 */
export async function openPodNetwork(addresses) {
  if (process.env["ONEHOP_DEMO_NETWORK"] === "ports") return portsOfLocalhost("asked for by ONEHOP_DEMO_NETWORK");
  try {
    const port = await commonFreePort(addresses);
    return { kind: "addresses", why: "this system has 127.0.x.y", port, route: () => {} };
  } catch (error) {
    return portsOfLocalhost(`addresses cannot be had: ${error instanceof Error ? error.message : error}`);
  }
}

/**
 * A port that is free on every address.
 *
 * @param {readonly string[]} addresses
 */
async function commonFreePort(addresses) {
  /** @type {unknown} */
  let failure;
  for (let round = 0; round < 5; round += 1) {
    /** @type {net.Server[]} */
    const open = [];
    try {
      let port = 0;
      for (const address of addresses) {
        const server = net.createServer();
        server.listen(port, address);
        await once(server, "listening");
        open.push(server);
        port = listeningPort(server);
      }
      return port;
    } catch (error) {
      failure = error;
    } finally {
      for (const server of open) server.close();
    }
  }
  throw failure;
}

/**
 * Stands in for the network of the clusters: connections to a pod's address are led to its port of 127.0.0.1. Nothing
 * above the socket knows; the maps and onehop see the pods' addresses.
 *
 * @param {string} why
 * @returns {PodNetwork}
 */
function portsOfLocalhost(why) {
  /** @type {Map<string, number>} */
  const routes = new Map();
  const connect = net.connect;
  Object.assign(net, {
    connect: (/** @type {any} */ options, /** @type {any[]} */ ...rest) => {
      const port = routes.get(options?.host);
      return connect(port === undefined ? options : { ...options, host: "127.0.0.1", port }, ...rest);
    },
  });
  return { kind: "ports", why, port: 8080, route: (address, port) => void routes.set(address, port) };
}

/** @param {net.Server} server */
export function listeningPort(server) {
  return /** @type {net.AddressInfo} */ (server.address()).port;
}
