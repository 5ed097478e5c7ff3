import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/clock.js";
import { createResolver, type Resolver, type ResolverOptions } from "../../src/dns/resolver.js";
import { replyTo, startNameServer, type TestNameServer, zone } from "../support/name-server.js";

let folder: string;
const servers: TestNameServer[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onehop-dns-"));
});
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(react: Parameters<typeof startNameServer>[0]): Promise<TestNameServer> {
  const server = await startNameServer(react);
  servers.push(server);
  return server;
}

interface Pod {
  readonly hosts?: string;
  readonly resolvConf?: string;
}

/** A resolver of a pod with these files, that asks these servers. */
function resolverOf(
  nameservers: readonly TestNameServer[],
  pod: Pod = {},
  options: Partial<ResolverOptions> = {},
): Resolver {
  const hostsPath = join(folder, "hosts");
  const resolvConfPath = join(folder, "resolv.conf");
  writeFileSync(hostsPath, pod.hosts ?? "");
  writeFileSync(
    resolvConfPath,
    pod.resolvConf ?? "search energy.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
  );
  return createResolver({ clock: systemClock, hostsPath, resolvConfPath, nameservers, timeoutMs: 5_000, ...options });
}

const FULL_NAME = "quotes.energy.svc.cluster.local";
const BOTH = zone({ [FULL_NAME]: { A: ["10.96.7.7"], AAAA: ["fd00::7"], ttl: 25 } });

describe("createResolver", () => {
  it("asks for both families through the search list with ndots:5", async () => {
    const server = await start(BOTH);
    expect(await resolverOf([server]).resolve("quotes.energy")).toEqual({
      addresses: ["10.96.7.7", "fd00::7"],
      ttlMs: 25_000,
      name: FULL_NAME,
    });
    expect([...server.asked()].sort()).toEqual([
      "quotes.energy.energy.svc.cluster.local A",
      "quotes.energy.energy.svc.cluster.local AAAA",
      `${FULL_NAME} A`,
      `${FULL_NAME} AAAA`,
    ]);
  });

  it("asks for a name with a trailing dot only as it is", async () => {
    const server = await start(BOTH);
    expect(await resolverOf([server]).resolve(`${FULL_NAME}.`)).toMatchObject({ name: FULL_NAME });
    expect(server.asked()).toHaveLength(2);
  });

  it("follows an alias", async () => {
    const server = await start((query) =>
      replyTo(
        query,
        query.type === "AAAA"
          ? []
          : [
              { type: "CNAME", name: query.name, ttl: 9, data: "real.energy" },
              { type: "A", name: "real.energy", ttl: 30, data: "10.96.7.7" },
            ],
      ),
    );
    expect(await resolverOf([server]).resolve("quotes.energy.")).toEqual({
      addresses: ["10.96.7.7"],
      ttlMs: 9_000,
      name: "quotes.energy",
    });
  });

  it("works with IPv6 only", async () => {
    const server = await start(zone({ [FULL_NAME]: { AAAA: ["fd00::7"] } }));
    expect((await resolverOf([server]).resolve("quotes.energy")).addresses).toEqual(["fd00::7"]);
  });

  it("goes on when a name exists without addresses", async () => {
    const server = await start(zone({ "a.x": {}, "a.y": { A: ["10.96.7.7"] } }));
    const resolver = resolverOf([server], {}, { search: ["x", "Y."] });
    expect((await resolver.resolve("a")).name).toBe("a.y");
  });

  it("keeps the lifetime from 1 s to 1 h", async () => {
    const server = await start(zone({ short: { A: ["10.0.0.1"], ttl: 0 }, long: { A: ["10.0.0.2"], ttl: 999_999 } }));
    const resolver = resolverOf([server]);
    expect((await resolver.resolve("short.")).ttlMs).toBe(1_000);
    expect((await resolver.resolve("long.")).ttlMs).toBe(3_600_000);
  });

  it("takes an IP address for itself", async () => {
    const resolver = resolverOf([]);
    expect((await resolver.resolve("10.1.2.3")).addresses).toEqual(["10.1.2.3"]);
    expect((await resolver.resolve("FD00:0::1")).addresses).toEqual(["fd00::1"]);
    expect((await resolver.resolve("[fd00::1]")).addresses).toEqual(["fd00::1"]);
  });

  it("honours the hosts file first", async () => {
    const server = await start(BOTH);
    const resolver = resolverOf([server], { hosts: "fd00::9 quotes.energy\n10.0.0.9 quotes.energy\n" });
    expect(await resolver.resolve("Quotes.energy")).toEqual({
      addresses: ["10.0.0.9", "fd00::9"],
      ttlMs: 5_000,
      name: "quotes.energy",
    });
    expect(server.asked()).toEqual([]);
  });

  it("reads its files again when they change, and does not mind that they are missing", async () => {
    const server = await start(BOTH);
    let nowMs = 0;
    const clock: Clock = { ...systemClock, now: () => nowMs };
    const resolver = resolverOf([server], {}, { clock });
    rmSync(join(folder, "hosts"));
    expect((await resolver.resolve("quotes.energy")).addresses).toContain("10.96.7.7");
    writeFileSync(join(folder, "hosts"), "10.0.0.9 quotes.energy\n");
    expect((await resolver.resolve("quotes.energy")).addresses).toContain("10.96.7.7");
    nowMs += 5_000;
    expect((await resolver.resolve("quotes.energy")).addresses).toEqual(["10.0.0.9"]);
    writeFileSync(join(folder, "hosts"), "10.0.0.10 quotes.energy\n");
    nowMs += 5_000;
    expect((await resolver.resolve("quotes.energy")).addresses).toEqual(["10.0.0.10"]);
  });

  it("asks the second server when the first is silent", async () => {
    const silent = await start(() => undefined);
    const server = await start(BOTH);
    const resolver = resolverOf([silent, server], {}, { timeoutMs: 100 });
    expect((await resolver.resolve(`${FULL_NAME}.`)).addresses).toEqual(["10.96.7.7", "fd00::7"]);
    expect(silent.asked()).toHaveLength(2);
  });

  it.each([2, 5])("asks the second server when the first answers with code %d", async (rcode) => {
    const broken = await start((query) => replyTo(query, [], { rcode }));
    const server = await start(BOTH);
    expect((await resolverOf([broken, server]).resolve(`${FULL_NAME}.`)).addresses).toHaveLength(2);
  });

  it("does not ask again for a family that has been answered", async () => {
    const half = await start((query) => replyTo(query, [], { rcode: query.type === "A" ? 0 : 2 }));
    const server = await start(BOTH);
    expect((await resolverOf([half, server]).resolve(`${FULL_NAME}.`)).addresses).toEqual(["fd00::7"]);
    expect(server.asked()).toEqual([`${FULL_NAME} AAAA`]);
  });

  it("does not wait long for a family that is never answered", async () => {
    const server = await start((query) => (query.type === "AAAA" ? undefined : BOTH(query)));
    const startedMs = systemClock.now();
    expect((await resolverOf([server]).resolve(`${FULL_NAME}.`)).addresses).toEqual(["10.96.7.7"]);
    expect(systemClock.now() - startedMs).toBeLessThan(3_000);
  });

  it("says that a name does not exist, with all that was tried", async () => {
    const server = await start(zone({}));
    await expect(resolverOf([server], {}, { search: ["x"] }).resolve("quotes.energy")).rejects.toMatchObject({
      code: "ERR_ONEHOP_NAME",
      reason: "not-found",
      message: expect.stringMatching(
        new RegExp(
          `^quotes.energy does not exist: asked 127.0.0.1:${server.port} for quotes.energy.x, quotes.energy: ` +
            `quotes.energy.x A(AA)?A?: 127.0.0.1:${server.port} answered NXDOMAIN; .*option \`addresses\``,
        ),
      ),
    });
  });

  it("does not go on to another domain when a server fails", async () => {
    const server = await start((query) =>
      query.name === FULL_NAME
        ? replyTo(query, [], { rcode: 2 })
        : zone({ "quotes.energy": { A: ["6.6.6.6"] } })(query),
    );
    await expect(resolverOf([server], {}, { attempts: 2 }).resolve("quotes.energy")).rejects.toMatchObject({
      reason: "no-answer",
      message: expect.stringContaining(`${FULL_NAME} A: 127.0.0.1:${server.port} answered SERVFAIL`),
    });
    expect(server.asked().filter((asked) => asked === `${FULL_NAME} A`)).toHaveLength(2);
    expect(server.asked()).not.toContain("quotes.energy A");
  });

  it("says that no server answered", async () => {
    const silent = await start(() => undefined);
    await expect(resolverOf([silent], {}, { timeoutMs: 30, attempts: 2 }).resolve("quotes")).rejects.toMatchObject({
      reason: "no-answer",
      message: expect.stringContaining("gave no answer within 30 ms"),
    });
    expect(silent.asked()).toHaveLength(4);
  });

  it.each(["", "a..b", "a b", "x".repeat(64), "bücher.de"])("refuses %j as a host", async (host) => {
    await expect(resolverOf([]).resolve(host)).rejects.toMatchObject({ code: "ERR_ONEHOP_NAME", reason: "bad-name" });
  });

  it("refuses options that are no addresses or names", () => {
    expect(() => createResolver({ clock: systemClock, nameservers: [{ address: "kube-dns" }] })).toThrow(
      /"kube-dns" is no IP address/,
    );
    expect(() => createResolver({ clock: systemClock, search: ["a..b"] })).toThrow(/"a..b" is no domain name/);
  });
});
