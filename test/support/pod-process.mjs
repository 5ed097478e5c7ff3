// Many pods in one process: HTTP/1.1 servers that come and go by command. Started by `pod-process.ts`, which describes
// the commands. Keeps no record of a request but a count, so that it can serve hundreds of thousands.
import http from "node:http";

/** By name. */
const pods = new Map();

function answer(pod, request, response) {
  pod.requests += 1;
  request.resume();
  const { hang = false, status = 200, delayMs = 0 } = pod.behaviour;
  if (hang) return;
  const { name, cluster, generation } = pod.spec;
  const body = JSON.stringify({ pod: name, cluster, generation, host: request.headers.host, path: request.url });
  const headers = {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    "x-pod": name,
    "x-cluster": cluster ?? "",
    "x-generation": String(generation ?? ""),
  };
  const respond = () => response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : body);
  if (delayMs > 0) setTimeout(respond, delayMs);
  else respond();
}

const commands = {
  async add({ spec }) {
    if (pods.has(spec.name)) throw new Error(`there is a pod ${spec.name}`);
    const pod = { spec, behaviour: {}, requests: 0, sockets: new Set() };
    pod.server = http.createServer((request, response) => answer(pod, request, response));
    pod.server.on("connection", (socket) => {
      pod.sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => pod.sockets.delete(socket));
    });
    await new Promise((resolve, reject) => {
      pod.server.once("error", reject);
      pod.server.listen({ port: spec.port, host: spec.address, backlog: 1_024 }, resolve);
    });
    pods.set(spec.name, pod);
  },
  async remove({ name }) {
    const pod = pods.get(name);
    if (pod === undefined) return;
    pods.delete(name);
    const closed = new Promise((resolve) => pod.server.close(resolve));
    for (const socket of pod.sockets) socket.destroy();
    await closed;
  },
  behave({ name, behaviour }) {
    const pod = pods.get(name);
    if (pod === undefined) throw new Error(`there is no pod ${name}`);
    pod.behaviour = behaviour;
  },
  counts: () => Object.fromEntries([...pods].map(([name, { requests }]) => [name, requests])),
  connections: () => Object.fromEntries([...pods].map(([name, { sockets }]) => [name, sockets.size])),
};

process.on("message", async ({ id, command, ...input }) => {
  try {
    process.send({ id, result: await commands[command](input) });
  } catch (error) {
    process.send({ id, error: String(error) });
  }
});
process.on("disconnect", () => process.exit());
