// @ts-check
/**
 * The demo: three clusters, calls by the name of a service, and one mishap after the other.
 *
 *     npm run demo              live in the terminal
 *     npm run demo -- --json    one JSON object on stdout, nothing else
 *
 * ONEHOP_DEMO_KERNEL=simulated keeps the maps in memory also where real ones could be had; ONEHOP_DEMO_NETWORK=ports
 * makes do with 127.0.0.1, as on systems that have no 127.0.x.y.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createMesh } from "onehop";
import { bpfDiscovery } from "onehop/discovery";
import { openMaps } from "./maps.js";
import { PHASES } from "./phases.js";
import { CLUSTERS, OWN, POD_ADDRESSES, QUOTES } from "./plan.js";
import { openPodNetwork } from "./pod-network.js";
import { result, tables } from "./report.js";
import { createRoster } from "./roster.js";
import { createTerminal } from "./terminal.js";
import { Recorder, startTraffic } from "./traffic.js";
import { World } from "./world.js";

/** @import { Mesh } from "onehop" */
/** @import { Maps } from "./maps.js" */
/** @import { Terminal } from "./terminal.js" */

/** About 75 calls a second. */
const CALL_EVERY_MS = 12;
/** A machine too busy for the rate gets some more time in the last phase, until the figures are worth a table. */
const LEAST_CALLS = 500;
const ROSTER_EVERY_MS = 250;
const CLUSTER_NAMES = CLUSTERS.map(({ name }) => name);

/** @type {(() => void)[]} What ends with the demo, however it ends. */
const cleanups = [];
function cleanUp() {
  for (const cleanup of cleanups.splice(0).reverse()) {
    try {
      cleanup();
    } catch (error) {
      console.error(`could not clean up: ${error instanceof Error ? error.message : error}`);
    }
  }
}
process.once("exit", cleanUp);
process.once("SIGINT", () => process.exit(130));
process.once("SIGTERM", () => process.exit(143));

const isJson = process.argv.slice(2).includes("--json");
const terminal = createTerminal(isJson ? undefined : process.stdout);
cleanups.push(() => terminal.close());
try {
  process.exitCode = await runDemo(isJson, terminal);
} catch (error) {
  console.error(`the demo broke off: ${error instanceof Error ? (error.stack ?? error.message) : error}`);
  process.exitCode = 1;
} finally {
  cleanUp();
}

/**
 * @param {boolean} isJson
 * @param {Terminal} terminal
 * @returns {Promise<number>} exit code
 */
async function runDemo(isJson, terminal) {
  const maps = await openMaps();
  cleanups.push(maps.close);
  const network = await openPodNetwork(POD_ADDRESSES);
  const world = new World(maps, network);
  cleanups.push(() => world.close());
  await world.start();
  terminal.intro([
    `onehop calls http://${QUOTES.name}, a global service of the clusters ${CLUSTER_NAMES.join(", ")}`,
    `maps: ${maps.kind === "real" ? "real kernel maps" : "simulated in memory"} (${maps.why})`,
    `pods: on ${network.kind === "addresses" ? "addresses of their own" : "ports of 127.0.0.1"} (${network.why})`,
  ]);

  const recorder = new Recorder();
  const mesh = createDemoMesh(maps);
  cleanups.push(() => void mesh.close());
  tellEvents(mesh, recorder, terminal);
  await requireView(mesh);
  await playPhases(mesh, world, recorder, terminal);

  const outcome = result(maps.kind, recorder, CLUSTER_NAMES);
  if (isJson) process.stdout.write(`${JSON.stringify(outcome)}\n`);
  terminal.outro([
    ...tables(recorder, CLUSTER_NAMES),
    "",
    `${outcome.calls} calls, ${outcome.failed} failed, ${outcome.retries} retries, ${world.mapChanges} changes of map entries`,
    `requests that reached the other service on the recycled address: ${world.strayRequests}`,
  ]);
  for (const failure of recorder.failures.slice(0, 5)) console.error(`a call failed: ${failure}`);
  if (world.strayRequests > 0) console.error(`${world.strayRequests} requests reached a pod of another service`);
  return outcome.failed > 0 || world.strayRequests > 0 ? 1 : 0;
}

/** @param {Maps} maps */
function createDemoMesh(maps) {
  return createMesh({
    discovery: bpfDiscovery({
      pinDirectory: maps.directory,
      clusters: Object.fromEntries(CLUSTERS.map(({ number, name }) => [number, name])),
      ownAddresses: [OWN.address],
      ...(maps.kernel === undefined ? {} : { kernel: maps.kernel }),
    }),
    addresses: { [QUOTES.name]: [QUOTES.address] },
    services: {
      [QUOTES.name]: {
        timeoutMs: 8_000,
        // Far above the pods' latencies, also on a busy machine, and short enough to leave a hanging pod soon.
        perTryTimeoutMs: 400,
        locality: { order: ["local", CLUSTERS[1].name, CLUSTERS[2].name] },
        expectIdentity: { numbers: CLUSTERS.map(({ identity }) => identity) },
        retry: {
          // One for each cluster, and one more for the call that a cluster dies under.
          maxAttempts: 4,
          // At the end two clusters of three are dead and in the maps all the same: each call finds its pod in the third
          // attempt. The first re-send of a request that never left is free, the second is charged; a budget of one per
          // call pays it. The default, a fifth, would stop most of them, which is right for a service that can be
          // overrun, and not what is to be seen here.
          budget: { ratio: 1, minPerSecond: 10 },
          // For the same reason, as many at once as there are calls.
          concurrency: { ratio: 1, minimum: 20 },
        },
      },
    },
  });
}

/**
 * @param {Mesh} mesh
 * @param {Recorder} recorder
 * @param {Terminal} terminal
 */
function tellEvents(mesh, recorder, terminal) {
  mesh.on("retry", () => recorder.retried());
  mesh.on("identity-mismatch", ({ endpoint, identity }) =>
    terminal.event(`${endpoint.address} has identity ${identity} now, not that of ${QUOTES.name}: no more calls to it`),
  );
  mesh.on("endpoints", ({ diff, generation }) =>
    terminal.event(
      `view ${generation} adopted: ${diff.added.length} added, ${diff.removed.length} removed, ${diff.changed.length} changed`,
    ),
  );
  mesh.on("doubt", ({ reason }) => terminal.event(`a view is not trusted: ${reason}`));
}

/** @param {Mesh} mesh */
async function requireView(mesh) {
  await mesh.ready({ signal: AbortSignal.timeout(5_000) });
  const { state, reason } = await mesh.service(QUOTES.name).explain();
  if (state !== "endpoints") throw new Error(`the maps give no view of ${QUOTES.name}, but "${state}": ${reason}`);
}

/**
 * @param {Mesh} mesh
 * @param {World} world
 * @param {Recorder} recorder
 * @param {Terminal} terminal
 */
async function playPhases(mesh, world, recorder, terminal) {
  const roster = createRoster(mesh, QUOTES.name, world, recorder);
  /** @type {ReturnType<typeof startTraffic> | undefined} */
  let traffic;
  const ended = new AbortController();
  const display = (async () => {
    while (!ended.signal.aborted) {
      await sleep(ROSTER_EVERY_MS);
      terminal.show(await roster.read(), recorder.totals);
    }
  })();
  for (const [index, phase] of PHASES.entries()) {
    recorder.beginPhase(phase.name);
    terminal.phase(`${index + 1}/${PHASES.length} ${phase.name}`, phase.story);
    traffic ??= startTraffic(mesh, QUOTES.name, recorder, CALL_EVERY_MS);
    await phase.run(world);
  }
  const patience = performance.now() + 6_000;
  while (recorder.totals.calls < LEAST_CALLS && performance.now() < patience) await sleep(CALL_EVERY_MS);
  await traffic?.stop();
  ended.abort();
  await display;
}
