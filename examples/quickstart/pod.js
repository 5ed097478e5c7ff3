// @ts-check
/** A pod, as far as the example needs one: a server on a free port of 127.0.0.1. */
import { once } from "node:events";
import { createServer } from "node:http";

/** @param {string} name */
export async function startPod(name) {
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ pod: name, asked: `${request.headers.host}${request.url}`, eurPerMwh: 84.2 }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { address, port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    endpoint: { address, port },
    stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
