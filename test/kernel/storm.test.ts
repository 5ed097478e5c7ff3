/**
 * Calls while another process changes the maps without pause. A reader that trusts one pass runs beside the mesh: what it
 * takes for true in the same minute shows that there was something to be caught.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DiscoveryUpdate } from "../../src/discovery/discovery.js";
import { bpfDiscovery } from "../../src/discovery.js";
import { createMesh, type Endpoint, type MeshEventOf } from "../../src/index.js";
import { createFakeKernel } from "../../src/kernel/fake-kernel.js";
import { crossKeyReads, mixedReads, vanishingReads } from "../../src/kernel/fake-tears.js";
import type { Kernel } from "../../src/kernel/kernel.js";
import { openKernel } from "../../src/kernel/open-kernel.js";
import { parseServiceHost } from "../../src/model/service-ref.js";
import { seededRandom } from "../../src/random.js";
import { createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { type Bpffs, mountBpffs } from "../support/bpffs.js";
import { describeKernel } from "../support/kernel-gate.js";
import { ManualClock } from "../support/manual-clock.js";
import { MembershipLog } from "../support/membership-log.js";
import { NaiveReader } from "../support/naive-reader.js";
import { type PodProcess, startPodProcess } from "../support/pod-process.js";
import {
  podsFor,
  STORM_PODS,
  STORM_PORT,
  STORM_SERVICES,
  StormPlan,
  type StormService,
  vipOf,
} from "../support/storm-plan.js";
import { monotonicMs, type StormReport, startStorm } from "../support/storm-process.js";

/** How many map elements change at least in each storm. */
const LEAST_CHANGES = 100_000;

/** How long each storm lasts at least, in milliseconds. */
const LEAST_MS = 25_000;

/** How long the last endpoints of a service stay in use that is deleted, in milliseconds. */
const GRACE_MS = 500;

/**
 * How old what a call goes by may be, in milliseconds: replaced pins are noticed within a second, a deleted service keeps
 * its pods for the grace; the rest is room for a machine with other things to do.
 */
const STALENESS_MS = 1_000 + GRACE_MS + 1_500;

/** Calls under way at any time. */
const CONCURRENCY = 8;

const hostOf = (service: StormService): string => `${service}.storm`;
const protocolOf = (version: "1.17" | "1.20" | "1.16"): "any" | "tcp" => (version === "1.16" ? "any" : "tcp");

/** A call that got its answer. */
interface Answered {
  readonly service: StormService;
  readonly pod: string;
  readonly from: number;
  readonly to: number;
}

/** A view that the mesh adopted. */
interface Adopted {
  readonly service: StormService;
  readonly at: number;
  readonly addresses: readonly string[];
  /** Those of active ones, sorted and joined. */
  readonly active: string;
}

function adoptedView(service: StormService, at: number, endpoints: readonly Endpoint[]): Adopted {
  const active = endpoints.filter(({ state }) => state === "active").map(({ address }) => address);
  return { service, at, addresses: endpoints.map(({ address }) => address), active: active.sort().join() };
}

describeKernel("a storm of map changes by another process", () => {
  let bpffs: Bpffs;
  let kernel: Kernel;
  let pods: PodProcess;
  const addressByPod = new Map(
    Object.values(STORM_PODS).flatMap((all) => all.map(({ name, address }) => [name, address] as const)),
  );

  beforeAll(async () => {
    bpffs = mountBpffs();
    kernel = await openKernel();
    pods = await startPodProcess();
    const plans = Object.values(STORM_PODS).flatMap((all) => all.map((pod) => ({ ...pod, port: STORM_PORT })));
    await pods.add(...plans);
  });
  afterAll(async () => {
    await pods.stop();
    bpffs.unmount();
  });

  it.each(["1.17", "1.20"] as const)(
    "T-43: no call reaches a pod that was no member, a one-pass reader goes wrong (%s)",
    async (version) => {
      const directory = bpffs.path(`storm${version.replace(".", "x")}`);
      const storm = await startStorm({ directory, version, changes: LEAST_CHANGES, leastMs: LEAST_MS, seed: 7 });
      const naive = new NaiveReader(kernel, directory, protocolOf(version));
      const watched = watchedMesh(kernel, directory);
      let isOver = false;
      const reading = setInterval(() => naive.read(), 4);
      const calling = Promise.all(Array.from({ length: CONCURRENCY }, (_, at) => watched.callUntil(() => isOver, at)));
      let report: StormReport;
      try {
        report = await storm.done;
      } finally {
        isOver = true;
        clearInterval(reading);
        storm.stop();
        await calling;
        await watched.close();
        naive.close();
      }
      const { answered, failed, adopted, doubts } = watched;
      const { views, foreign, missing, duplicate, malformed } = naive.findings;
      const { declared } = report.log;
      const mixed = naive.mixed(declared);
      // Where the writer rests in the middle of an update, two passes agree on what stands there. Each pod of it is a
      // member before or after the update, and Cilium's own datapath goes by the same entries.
      const halfway = adopted.filter(({ service, active }) => !declared[service].includes(active));
      console.info(
        `storm ${version}: ${report.changes} changes in ${report.operations} writes, maps replaced ${report.swaps} times; ` +
          `mesh: ${adopted.length} views adopted (${halfway.length} of updates that paused halfway), ${doubts()} doubts, ${answered.length} calls, ${failed.length} failed; ` +
          `one-pass reader: ${views} views, ${missing} with missing pods, ${duplicate} with a pod twice, ` +
          `${mixed} sets that never were, ${malformed} malformed, ${foreign} with a foreign pod` +
          (foreign === 0 ? " (the kernel was too kind for that: see the simulated storm)" : ""),
      );

      const log = new MembershipLog(report.log);
      const foreignCalls = answered.filter(({ service, pod, from, to }) => {
        const address = addressByPod.get(pod) ?? "";
        return !log.wasMember(service, address, from - STALENESS_MS, to);
      });
      const foreignViews = adopted.filter(({ service, at, addresses }) =>
        addresses.some((address) => !log.wasMember(service, address, at - STALENESS_MS, at)),
      );
      expect(foreignCalls.slice(0, 5)).toEqual([]);
      expect(foreignViews.slice(0, 5)).toEqual([]);
      expect(failed.slice(0, 5)).toEqual([]);
      expect(report.changes).toBeGreaterThanOrEqual(LEAST_CHANGES);
      expect(report.swaps).toBeGreaterThan(0);
      expect(adopted.length).toBeGreaterThanOrEqual(100);
      expect(answered.length).toBeGreaterThan(1_000);
      for (const service of STORM_SERVICES) {
        expect(answered.filter((call) => call.service === service).length, service).toBeGreaterThan(100);
      }
      expect(mixed, "sets of pods that were never declared").toBeGreaterThan(0);
      expect(missing + duplicate, "views that cannot be right").toBeGreaterThan(0);
    },
    150_000,
  );

  /** The mesh under test, with all it did. */
  function watchedMesh(
    kernel: Kernel,
    directory: string,
  ): {
    readonly answered: Answered[];
    readonly failed: unknown[];
    readonly adopted: Adopted[];
    doubts(): number;
    callUntil(isOver: () => boolean, worker: number): Promise<void>;
    close(): Promise<void>;
  } {
    const answered: Answered[] = [];
    const failed: unknown[] = [];
    const adopted: Adopted[] = [];
    let doubts = 0;
    const mesh = createMesh({
      discovery: bpfDiscovery({ pinDirectory: directory, kernel, pollMs: 25, ownAddresses: [] }),
      addresses: Object.fromEntries(STORM_SERVICES.map((service) => [hostOf(service), [vipOf(service).address]])),
      services: Object.fromEntries(STORM_SERVICES.map((service) => [hostOf(service), {}])),
      defaults: { emptyGraceMs: GRACE_MS, drainTimeoutMs: 1_000 },
    });
    const views = new Map<string, Map<string, Endpoint>>();
    mesh.on("endpoints", ({ service, diff }: MeshEventOf<"endpoints">) => {
      const view = views.get(service) ?? new Map<string, Endpoint>();
      views.set(service, view);
      for (const { key } of diff.removed) view.delete(key);
      for (const endpoint of [...diff.added, ...diff.changed.map(({ after }) => after)])
        view.set(endpoint.key, endpoint);
      adopted.push(adoptedView(service.charAt(0) as StormService, monotonicMs(), [...view.values()]));
    });
    mesh.on("doubt", () => {
      doubts += 1;
    });
    return {
      answered,
      failed,
      adopted,
      doubts: () => doubts,
      async callUntil(isOver, worker) {
        const random = seededRandom(worker + 1);
        while (!isOver()) {
          const service = STORM_SERVICES[Math.floor(random() * STORM_SERVICES.length)] ?? "a";
          const from = monotonicMs();
          try {
            const { statusCode, headers, body } = await mesh.request(`http://${hostOf(service)}/`);
            await body.dump();
            if (statusCode === 200) answered.push({ service, pod: String(headers["x-pod"]), from, to: monotonicMs() });
            else failed.push({ service, statusCode });
          } catch (error) {
            failed.push({ service, error });
          }
          await new Promise((resolve) => setTimeout(resolve, random() * 10));
        }
      },
      close: () => mesh.close(),
    };
  }
});

describe("a storm in the simulated kernel, which tears far more reads than a real one", () => {
  const TEAR_RATIO = 0.002;
  const MINUTES = 2;

  it.each(["1.16", "1.17", "1.20"] as const)(
    "T-43: no view holds a pod that was no member, a one-pass reader's do (%s)",
    async (version) => {
      const directory = "/fake/globals";
      const fake = createFakeKernel();
      const clock = new ManualClock(STALENESS_MS);
      const random = seededRandom(11);
      const agent = createCiliumAgent({ maker: fake, directory, version, families: [4] });
      agent.start();
      let swappedAt = clock.now();
      const plan = new StormPlan(
        agent,
        random,
        () => clock.now(),
        () => {
          if (clock.now() - swappedAt < 6_000) return false;
          swappedAt = clock.now();
          return true;
        },
      );
      plan.start();
      for (const tear of [crossKeyReads, mixedReads, vanishingReads]) {
        fake.onLookup(tear({ ratio: TEAR_RATIO, random }));
      }
      // The writer acts between any two look-ups, in spells: in between the maps rest.
      let change = plan.change();
      const write = (): void => {
        if (change.next().done === true) change = plan.change();
      };
      fake.beforeLookup(() => {
        if (Math.floor(clock.now() / 40) % 2 === 0 && random() < 0.2) write();
      });
      const discovery = bpfDiscovery({ kernel: fake, pinDirectory: directory, clock, pollMs: 25, ownAddresses: [] });
      discovery.attach({ notify: () => undefined });
      const adopted: Adopted[] = [];
      const kinds = new Map<string, number>();
      for (const service of STORM_SERVICES) {
        const ref = parseServiceHost(hostOf(service));
        if (ref === undefined) throw new Error("no service");
        const addresses = async () => ({ addresses: [vipOf(service).address], ttlMs: 60_000 });
        const watch = discovery.watch({ service: ref, port: 80, addresses }, (update: DiscoveryUpdate) => {
          kinds.set(update.kind, (kinds.get(update.kind) ?? 0) + 1);
          if (update.kind !== "view") return;
          adopted.push(adoptedView(service, clock.now(), update.endpoints));
        });
        const touch = (): void => {
          watch.touch();
          clock.setBackgroundTimer(1_000, touch);
        };
        touch();
      }
      const naive = new NaiveReader(fake, directory, protocolOf(version));
      for (let passed = 0; passed < MINUTES * 60_000; passed += 100) {
        await clock.advanceAsync(100);
        naive.read();
      }
      const { views, foreign, missing, duplicate, malformed } = naive.findings;
      const declared = plan.log.declared;
      console.info(
        `simulated storm ${version}: ${agent.changes} changes; mesh: ${adopted.length} views told, ` +
          `${kinds.get("doubt") ?? 0} doubts; one-pass reader: ${views} views, ${missing} with missing pods, ` +
          `${duplicate} with a pod twice, ${naive.mixed(declared)} sets that never were, ${malformed} malformed, ` +
          `${foreign} with a foreign pod`,
      );
      const log = new MembershipLog(plan.log);
      const foreignViews = adopted.filter(({ service, at, addresses }) => {
        const own = new Set(podsFor(service).map(({ address }) => address));
        return addresses.some(
          (address) => !own.has(address) || !log.wasMember(service, address, at - STALENESS_MS, at),
        );
      });
      expect(foreignViews.slice(0, 3)).toEqual([]);
      expect(adopted.length).toBeGreaterThan(1_000);
      for (const wrong of [foreign, missing, duplicate]) expect(wrong).toBeGreaterThan(0);
      await discovery.close();
    },
    60_000,
  );
});
