// A listener that never accepts: see `black-hole.ts`.
import { createServer } from "node:net";

const server = createServer();
server.listen({ host: process.argv[2], port: 0, backlog: 1 }, () => {
  process.send(server.address().port, () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0));
});
