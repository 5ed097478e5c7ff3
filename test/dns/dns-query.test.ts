import { createSocket, Socket } from "node:dgram";
import { getEventListeners } from "node:events";
import { decode, encode } from "dns-packet";
import { afterEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "../../src/clock.js";
import type { DnsQuestion } from "../../src/dns/dns-message.js";
import { queryDns } from "../../src/dns/dns-query.js";
import { ManualClock } from "../support/manual-clock.js";
import {
  type Reaction,
  replyTo,
  type SeenQuery,
  startNameServer,
  type TestNameServer,
} from "../support/name-server.js";

const QUESTION: DnsQuestion = { name: "quotes.energy", type: "A" };
const ADDRESS = { type: "A", name: "quotes.energy", ttl: 30, data: "10.1.2.3" } as const;

const servers: TestNameServer[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

async function start(react: Parameters<typeof startNameServer>[0], address?: string): Promise<TestNameServer> {
  const server = await startNameServer(react, address);
  servers.push(server);
  return server;
}

describe("queryDns", () => {
  it("gives the answer whatever its response code", async () => {
    const server = await start((query) => replyTo(query, [ADDRESS], { rcode: 3 }));
    const packet = await queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 5_000 });
    expect(packet.answers).toMatchObject([{ data: "10.1.2.3" }]);
  });

  it("works over IPv6", async (context) => {
    const server = await start((query) => replyTo(query, [ADDRESS]), "::1").catch(() => undefined);
    if (server === undefined) return context.skip("this machine has no ::1");
    const packet = await queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 5_000 });
    expect(packet.answers).toHaveLength(1);
  });

  it("uses an id and a source port of its own for each query", async () => {
    const server = await start((query) => replyTo(query, []));
    for (let round = 0; round < 12; round += 1)
      await queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 5_000 });
    expect(new Set(server.seen.map((query) => query.packet.id)).size).toBeGreaterThan(8);
    expect(new Set(server.seen.map((query) => query.port)).size).toBeGreaterThan(8);
  });

  const wrongReplies: readonly [
    title: string,
    wrong: (query: SeenQuery) => Exclude<Reaction, undefined>,
    why: string,
  ][] = [
    ["wrong id", (query) => replyTo(query, [], { id: (query.packet.id ?? 0) ^ 1 }), "another id"],
    ["wrong question", (query) => replyTo(query, [], { questions: [{ name: "evil", type: "A" }] }), "another question"],
    ["the query sent back", (query) => replyTo(query, [], { type: "query" }), "no response"],
    ["garbage", () => new Uint8Array([1, 2, 3]), "malformed"],
    ["an empty datagram", () => new Uint8Array(), "malformed"],
  ];
  it.each(wrongReplies)("ignores %s and waits on", async (_title, wrong) => {
    const server = await start((query) => [wrong(query), replyTo(query, [ADDRESS])].flat());
    const packet = await queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 5_000 });
    expect(packet.answers).toMatchObject([{ data: "10.1.2.3" }]);
  });

  it.each(wrongReplies)("times out when there is only %s, and says so", async (_title, wrong, why) => {
    const server = await start((query) => wrong(query));
    await expect(queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 60 })).rejects.toMatchObject({
      code: "ERR_ONEHOP_NAME",
      reason: "timeout",
      message: expect.stringMatching(new RegExp(`^gave no answer within 60 ms; ignored packets: ${why}`)),
    });
  });

  it("ignores an answer from another source", async () => {
    const stranger = createSocket("udp4");
    try {
      const server = await start((query) => {
        stranger.send(encode(replyTo(query, [{ ...ADDRESS, data: "6.6.6.6" }])), query.port, "127.0.0.1");
        return undefined;
      });
      await expect(queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 150 })).rejects.toMatchObject({
        reason: "timeout",
      });
      expect(server.seen).toHaveLength(1);
    } finally {
      stranger.close();
    }
  });

  it("fails on a truncated answer", async () => {
    const server = await start((query) => replyTo(query, [], { flags: 0x0200 }));
    await expect(queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 5_000 })).rejects.toMatchObject({
      reason: "truncated",
      message: expect.stringContaining("truncated"),
    });
  });

  it("fails at once when nobody listens", async () => {
    const server = await startNameServer(() => undefined);
    server.close();
    await expect(queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 10_000 })).rejects.toMatchObject({
      reason: "unreachable",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it.each([[0], [-1], [99_999], [1.5], [Number.NaN]])(
    "fails on the port %d and leaves nothing behind",
    async (port) => {
      const clock = new ManualClock();
      const { signal } = new AbortController();
      const close = vi.spyOn(Socket.prototype, "close");
      try {
        await expect(
          queryDns(QUESTION, { address: "127.0.0.1", port }, { clock, timeoutMs: 5_000, signal }),
        ).rejects.toMatchObject({
          code: "ERR_ONEHOP_NAME",
          reason: "unreachable",
          message: expect.stringContaining(String(port)),
        });
        expect(close).toHaveBeenCalledOnce();
      } finally {
        close.mockRestore();
      }
      expect([clock.timerCount, getEventListeners(signal, "abort")]).toEqual([0, []]);
    },
  );

  it("T-25: ends with the signal's reason and leaves no listener on it", async () => {
    const server = await start(() => undefined);
    const abort = new AbortController();
    const reason = new Error("enough");
    const pending = queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 10_000, signal: abort.signal });
    abort.abort(reason);
    await expect(pending).rejects.toBe(reason);
    expect(getEventListeners(abort.signal, "abort")).toHaveLength(0);
    await expect(
      queryDns(QUESTION, server, { clock: systemClock, timeoutMs: 10_000, signal: abort.signal }),
    ).rejects.toBe(reason);
    expect(server.seen.length).toBeLessThanOrEqual(1);
  });

  it("T-33: after a stall of the event loop the answer in the socket still counts", async () => {
    const clock = new ManualClock();
    const answered = await start((query) => replyTo(query, [ADDRESS]));
    const pending = queryDns(QUESTION, answered, { clock, timeoutMs: 1_000 });
    clock.stall(5_000);
    clock.advance(0);
    expect((await pending).answers).toHaveLength(1);
    expect(clock.timerCount).toBe(0);

    const silent = await start(() => undefined);
    const hopeless = queryDns(QUESTION, silent, { clock, timeoutMs: 1_000 });
    clock.stall(5_000);
    clock.advance(100);
    await expect(hopeless).rejects.toMatchObject({ reason: "timeout" });
  });

  it("T-23: holds the process for an awaited query, not for a background one", async () => {
    const server = await start(() => undefined);
    const clock = new ManualClock();
    const awaited = queryDns(QUESTION, server, { clock, timeoutMs: 10 });
    expect(clock.foregroundTimerCount).toBe(1);
    const background = queryDns(QUESTION, server, { clock, timeoutMs: 10, isBackground: true });
    expect([clock.timerCount, clock.foregroundTimerCount]).toEqual([2, 1]);
    clock.advance(10);
    const outcomes = await Promise.allSettled([awaited, background]);
    expect(outcomes.map((outcome) => outcome.status)).toEqual(["rejected", "rejected"]);
  });

  it("sends what a plain decoder reads", async () => {
    const server = await start((query) => replyTo(query, []));
    await queryDns({ name: "a.b", type: "AAAA" }, server, { clock: systemClock, timeoutMs: 5_000 });
    const [query] = server.seen;
    expect(query?.packet.questions).toEqual([{ name: "a.b", type: "AAAA", class: "IN" }]);
    expect(decode(encode(query?.packet ?? {})).flag_rd).toBe(true);
  });
});
