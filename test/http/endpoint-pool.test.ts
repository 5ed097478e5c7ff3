import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { EndpointPool, type PodClient } from "../../src/http/endpoint-pool.js";
import type { PodConnector } from "../../src/http/pod-connector.js";
import { ServicePools } from "../../src/http/service-pools.js";
import { ManualClock } from "../support/manual-clock.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const ORIGIN = "http://quotes.energy";
/** Dials nowhere: no socket is needed to keep count of clients. */
const dial = (): Socket => ({ destroy: () => undefined }) as unknown as Socket;
const isGone = ({ client }: PodClient): boolean => client.closed || client.destroyed;

describe("EndpointPool", () => {
  it("gives each request a client of its own, and the one used last again", () => {
    const pool = new EndpointPool(dial);
    const [a, b] = [pool.acquire(ORIGIN), pool.acquire(ORIGIN)];
    expect(a).not.toBe(b);
    expect(pool.size).toBe(2);
    pool.release(a);
    pool.release(b);
    expect(pool.size).toBe(2);
    expect(pool.acquire(ORIGIN)).toBe(b);
    expect(pool.acquire(ORIGIN)).toBe(a);
  });

  it("keeps clients of different origins apart", () => {
    const pool = new EndpointPool(dial);
    const a = pool.acquire(ORIGIN);
    pool.release(a);
    const b = pool.acquire("https://quotes.energy");
    expect(b).not.toBe(a);
    expect(pool.acquire(ORIGIN)).toBe(a);
  });

  it("takes back nothing twice", () => {
    const pool = new EndpointPool(dial);
    const a = pool.acquire(ORIGIN);
    pool.release(a);
    pool.release(a);
    expect(pool.size).toBe(1);
    expect(pool.acquire(ORIGIN)).toBe(a);
    expect(pool.acquire(ORIGIN)).not.toBe(a);
  });

  it("does not take back what it ended", () => {
    const pool = new EndpointPool(dial);
    const a = pool.acquire(ORIGIN);
    pool.discard(a, new Error("connecting took too long"));
    pool.release(a);
    expect([pool.size, isGone(a)]).toEqual([0, true]);
  });

  it("drains: idle clients close at once, running requests finish", () => {
    const clock = new ManualClock();
    const pool = new EndpointPool(dial);
    const [idle, busy] = [pool.acquire(ORIGIN), pool.acquire(ORIGIN)];
    pool.release(idle);
    pool.drain(clock, 30_000);
    expect([isGone(idle), isGone(busy), clock.timerCount]).toEqual([true, false, 1]);
    expect(clock.foregroundTimerCount).toBe(0);
    clock.advance(29_999);
    expect(isGone(busy)).toBe(false);
    pool.release(busy);
    expect([isGone(busy), pool.size, clock.timerCount]).toEqual([true, 0, 0]);
  });

  it("drains: what does not finish in time is ended", () => {
    const clock = new ManualClock();
    const pool = new EndpointPool(dial);
    const busy = pool.acquire(ORIGIN);
    pool.drain(clock, 30_000);
    clock.advance(30_000);
    expect([busy.client.destroyed, pool.size]).toEqual([true, 0]);
    pool.release(busy);
    expect(pool.size).toBe(0);
  });

  it("drains: no timer for a pool at rest, and none after the last one was ended", () => {
    const clock = new ManualClock();
    const pool = new EndpointPool(dial);
    pool.drain(clock, 30_000);
    expect(clock.timerCount).toBe(0);
    const late = pool.acquire(ORIGIN);
    pool.drain(clock, 30_000);
    pool.discard(late, new Error("gone"));
    expect(clock.timerCount).toBe(0);
  });

  it("ends everything at once when told", () => {
    const pool = new EndpointPool(dial);
    const [idle, busy] = [pool.acquire(ORIGIN), pool.acquire(ORIGIN)];
    pool.release(idle);
    pool.destroy();
    expect([idle.client.destroyed, busy.client.destroyed, pool.size]).toEqual([true, true, 0]);
  });
});

describe("ServicePools", () => {
  const pools = (): { pools: ServicePools; clock: ManualClock; dialled: string[] } => {
    const dialled: string[] = [];
    const connector: PodConnector = {
      to: (address, port) => {
        dialled.push(`${address}:${port}`);
        return dial;
      },
    };
    const clock = new ManualClock();
    return { pools: new ServicePools(connector, clock, 30_000), clock, dialled };
  };

  it("has one pool for an endpoint, by its key", () => {
    const { pools: all, dialled } = pools();
    const first = all.of(makeEndpoint(1));
    expect(all.of(makeEndpoint(1))).toBe(first);
    expect(all.of(makeEndpoint(2))).not.toBe(first);
    expect(dialled).toEqual(["10.0.0.1:8080", "10.0.0.2:8080"]);
    expect(all.sizeOf("nobody")).toBe(0);
  });

  it("T-43: a drained endpoint that comes back, or its address under a new key, has fresh connections", () => {
    const { pools: all } = pools();
    const endpoint = makeEndpoint(1);
    const pod = all.of(endpoint).acquire(ORIGIN);
    expect(all.sizeOf(endpoint.key)).toBe(1);
    all.drain(endpoint.key);
    all.drain(endpoint.key);
    expect([all.sizeOf(endpoint.key), isGone(pod)]).toEqual([0, false]);
    expect(all.of(endpoint).acquire(ORIGIN)).not.toBe(pod);
  });

  it("drains everything on close", () => {
    const { pools: all, clock } = pools();
    const pods = [1, 2, 3].map((id) => {
      const pool = all.of(makeEndpoint(id));
      const pod = pool.acquire(ORIGIN);
      if (id > 1) pool.release(pod);
      return pod;
    });
    all.close();
    expect([pods.map(isGone), clock.timerCount]).toEqual([[false, true, true], 1]);
    clock.advance(30_000);
    expect(pods.map(isGone)).toEqual([true, true, true]);
  });
});
