// Pods for tests: HTTP/1.1 servers in a process of their own, told by IPC what to do. Started by `pods.ts`, which
// describes the commands and the behaviours.
import { createHash } from "node:crypto";
import http from "node:http";
import https from "node:https";
import { gzipSync } from "node:zlib";

const pods = new Map();
/** Behaviours of the next requests, whichever pod gets them. */
let nextAnywhere = [];

class Pod {
  constructor(name) {
    this.name = name;
    this.behaviour = {};
    this.next = [];
    this.requests = [];
    this.sockets = new Set();
    this.accepted = 0;
  }

  async listen({ address, port = 0, tls }) {
    const onRequest = (request, response) => this.answer(request, response);
    this.server = tls === undefined ? http.createServer(onRequest) : https.createServer(tls, onRequest);
    // Without a time limit there is no `Keep-Alive` hint either: the client learns of a close when it happens.
    this.server.keepAliveTimeout = 0;
    this.server.on(tls === undefined ? "connection" : "secureConnection", (socket) => {
      this.accepted += 1;
      this.sockets.add(socket);
      socket.number = this.accepted;
      socket.on("error", () => undefined);
      socket.on("close", () => this.sockets.delete(socket));
    });
    this.server.on("tlsClientError", () => undefined);
    this.address = address;
    await new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(port, address, resolve);
    });
    this.port = this.server.address().port;
    return { address, port: this.port };
  }

  /** Closes the listener and every connection: from now on connections are refused. */
  async refuse() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  async accept() {
    await new Promise((resolve, reject) => {
      this.server.once("error", reject);
      this.server.listen(this.port, this.address, resolve);
    });
  }

  answer(request, response) {
    const behaviour = { ...this.behaviour, ...(this.next.shift() ?? nextAnywhere.shift()) };
    const { socket } = request;
    clearTimeout(socket.idleTimer);
    const seen = {
      method: request.method,
      url: request.url,
      headers: request.headers,
      rawHeaders: request.rawHeaders,
      connection: socket.number,
      servername: socket.servername,
      bytes: 0,
      sha256: undefined,
      isComplete: false,
      isAborted: false,
    };
    this.requests.push(seen);
    response.on("close", () => {
      seen.isAborted = !response.writableFinished;
    });
    const hash = createHash("sha256");
    const chunks = [];
    const declared = request.headers["content-length"];
    request.on("data", (chunk) => {
      seen.bytes += chunk.length;
      hash.update(chunk);
      if (behaviour.echo) chunks.push(chunk);
      const halfBytes = behaviour.halfBytes ?? (declared === undefined ? 0 : Number.POSITIVE_INFINITY);
      // Without a length, `NaN` is never reached.
      const isHalf = seen.bytes >= halfBytes || seen.bytes * 2 >= Number(declared);
      if (behaviour.kind === "half" && isHalf) {
        request.pause();
        if (!response.headersSent) this.respond(request, response, behaviour, { pod: this.name });
      }
      if (behaviour.kind === "destroy-half" && isHalf) socket.resetAndDestroy();
    });
    request.on("error", () => undefined);
    request.on("end", () => {
      seen.isComplete = true;
      seen.sha256 = hash.digest("hex");
      const raw = behaviour.echo ? Buffer.concat(chunks).toString("base64") : undefined;
      const { sha256, bytes } = seen;
      const about = { pod: this.name, sha256, bytes, type: request.headers["content-type"], raw };
      this.act(request, response, behaviour, about);
    });
  }

  act(request, response, behaviour, about) {
    switch (behaviour.kind) {
      case "hang":
        return;
      case "destroy":
      case "destroy-half":
        request.socket.destroy();
        return;
      case "dribble":
        dribble(request.socket, behaviour.delayMs ?? 100);
        return;
      case "cut":
        response.writeHead(200, { "x-pod": this.name, "content-length": 20_480 });
        response.write(Buffer.alloc(10_240, "c"));
        // The bytes are to reach the client before the reset, which would overtake them.
        setTimeout(() => request.socket.resetAndDestroy(), 50);
        return;
      case "stream":
        void this.stream(response, behaviour);
        return;
      default:
        if (response.headersSent) return;
        setTimeout(() => this.respond(request, response, behaviour, about), behaviour.delayMs ?? 0);
    }
  }

  respond(request, response, behaviour, about) {
    if (request.socket.destroyed) return;
    const status = behaviour.status ?? (behaviour.kind === "half" ? 503 : 200);
    const headers = { "x-pod": this.name, connection: "keep-alive", ...behaviour.headers };
    if (behaviour.idleCloseMs !== undefined) {
      response.on("finish", () => {
        request.socket.idleTimer = setTimeout(() => request.socket.destroy(), behaviour.idleCloseMs);
      });
    }
    if (status === 204 || status === 304) {
      response.writeHead(status, headers).end();
      return;
    }
    const text = JSON.stringify(about);
    const plain = behaviour.bodyBytes === undefined ? Buffer.from(text) : Buffer.alloc(behaviour.bodyBytes, "b");
    const body = behaviour.gzip ? gzipSync(plain) : plain;
    if (behaviour.gzip) headers["content-encoding"] = "gzip";
    response.writeHead(status, { "content-type": "application/json", "content-length": body.length, ...headers });
    response.end(request.method === "HEAD" ? undefined : body);
  }

  /** A body of `bodyBytes` in chunks, with `pauseMs` after each. */
  async stream(response, { bodyBytes = 1_048_576, chunkBytes = 65_536, pauseMs = 0, status = 200 }) {
    response.writeHead(status, { "x-pod": this.name });
    for (let sent = 0; sent < bodyBytes && !response.destroyed; sent += chunkBytes) {
      const chunk = Buffer.alloc(Math.min(chunkBytes, bodyBytes - sent), "s");
      // The callback comes when the chunk has left, or the connection is gone.
      await new Promise((resolve) => response.write(chunk, resolve));
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    response.end();
  }
}

/** Sends response headers a few bytes at a time, and never all of them. */
function dribble(socket, everyMs) {
  const text = `HTTP/1.1 200 OK\r\n${"x-slow: 1\r\n".repeat(10_000)}`;
  let at = 0;
  const timer = setInterval(() => {
    if (socket.destroyed || at >= text.length) clearInterval(timer);
    else socket.write(text.slice(at, at + 8));
    at += 8;
  }, everyMs);
}

const commands = {
  async start({ name, ...options }) {
    const pod = new Pod(name);
    pods.set(name, pod);
    return pod.listen(options);
  },
  set: ({ name, behaviour }) => {
    pods.get(name).behaviour = behaviour;
  },
  next: ({ name, behaviours }) => {
    if (name === undefined) nextAnywhere.push(...behaviours);
    else pods.get(name).next.push(...behaviours);
  },
  requests: ({ name }) => pods.get(name).requests,
  connections: ({ name }) => ({ open: pods.get(name).sockets.size, accepted: pods.get(name).accepted }),
  refuse: ({ name }) => pods.get(name).refuse(),
  accept: ({ name }) => pods.get(name).accept(),
  reset() {
    nextAnywhere = [];
    for (const pod of pods.values()) {
      Object.assign(pod, { behaviour: {}, next: [], requests: [], accepted: 0 });
      for (const socket of pod.sockets) socket.destroy();
    }
  },
};

process.on("message", async ({ id, command, ...rest }) => {
  try {
    process.send({ id, result: await commands[command](rest) });
  } catch (error) {
    process.send({ id, error: String(error) });
  }
});
process.on("disconnect", () => process.exit());
