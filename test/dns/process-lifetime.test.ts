import { afterEach, describe, expect, it } from "vitest";
import { runChild } from "../support/child-script.js";
import { startNameServer, type TestNameServer, zone } from "../support/name-server.js";

const servers: TestNameServer[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

const SCRIPT = `
const { systemClock } = await import(src + "/clock.js");
const { createResolver } = await import(src + "/dns/resolver.js");
const resolver = createResolver({
  clock: systemClock, hostsPath: "/nonexistent", resolvConfPath: "/nonexistent", nameservers: [input.server], timeoutMs: 60_000,
});
const resolving = resolver.resolve("quotes.energy.", { isBackground: input.isBackground });
if (input.isBackground) resolving.catch(() => {});
else console.log((await resolving).addresses.join());
`;

describe("queries and the life of the process", () => {
  it("T-24: an awaited query keeps the process alive until it is answered", async () => {
    const answer = zone({ "quotes.energy": { A: ["10.96.7.7"] } });
    const server = await startNameServer((query, socket) => {
      // Late enough that nothing else is left to hold the process.
      setTimeout(() => socket.send(encodeReply(query), query.port, "127.0.0.1"), 400);
      return undefined;
    });
    servers.push(server);
    const { encode } = await import("dns-packet");
    const encodeReply = (query: Parameters<typeof answer>[0]) => encode(answer(query));
    const outcome = await runChild(SCRIPT, {
      server: { address: server.address, port: server.port },
      isBackground: false,
    });
    expect(outcome).toEqual({ exitCode: 0, stdout: "10.96.7.7\n", stderr: "" });
  });

  it("T-23: a background query that is never answered does not", async () => {
    const server = await startNameServer(() => undefined);
    servers.push(server);
    const outcome = await runChild(SCRIPT, {
      server: { address: server.address, port: server.port },
      isBackground: true,
    });
    expect(outcome).toEqual({ exitCode: 0, stdout: "", stderr: "" });
  });
});
