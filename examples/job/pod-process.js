// @ts-check
/** A pod in a process of its own, so that its server does not keep the job's process alive. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const thisFile = fileURLToPath(import.meta.url);

/** @returns {Promise<{ address: string, port: number }>} */
export async function startPod() {
  const child = fork(thisFile, { stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const [endpoint] = await once(child, "message");
  child.unref();
  child.channel?.unref();
  return endpoint;
}

if (process.argv[1] === thisFile) {
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.end("booked"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { address, port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  process.send?.({ address, port });
  process.once("disconnect", () => process.exit(0));
}
