// @ts-check
/** What happens to the clusters while the calls go on. */
import { setTimeout as sleep } from "node:timers/promises";
import { BILLING, CLUSTERS, REPLACEMENT } from "./plan.js";

/** @import { World } from "./world.js" */

/**
 * @typedef {object} Phase
 * @property {string} name
 * @property {string} story
 * @property {(world: World) => Promise<void>} run takes as long as the phase shall
 */

const own = CLUSTERS[0].name;
const second = CLUSTERS[1].name;
const [podA, podB, podC] = CLUSTERS[0].pods;

/** @type {readonly Phase[]} */
export const PHASES = [
  {
    name: "steady",
    story: `all is well: the own cluster, ${own}, answers`,
    run: () => sleep(2_000),
  },
  {
    name: "a pod fails",
    story: `${podA.name} answers 503 from now on`,
    async run(world) {
      await world.cluster(own).behave(podA.name, "failing");
      await sleep(2_000);
      await world.cluster(own).behave(podA.name, "healthy");
    },
  },
  {
    name: "a pod hangs",
    story: `${podB.name} accepts and never answers, until ${REPLACEMENT.name} takes its place in the maps`,
    async run(world) {
      await world.cluster(own).behave(podB.name, "hanging");
      await sleep(2_000);
      await world.replace(world.cluster(own), podB, REPLACEMENT);
      await sleep(500);
    },
  },
  {
    name: "a pod IP is recycled",
    story: `${podC.name} is gone; its address goes to a pod of ${BILLING.name}, and the service map lags behind`,
    run: recycleAddress,
  },
  {
    name: "own cluster killed",
    story: `the processes of ${own} are killed; Cilium keeps its pods in the maps`,
    async run(world) {
      world.cluster(own).kill();
      await sleep(2_000);
    },
  },
  {
    name: "second cluster killed",
    story: `${second} dies as well; the maps still list all pods of both`,
    async run(world) {
      world.cluster(second).kill();
      await sleep(2_000);
    },
  },
];

/**
 * The ipcache knows the new owner of an address as soon as that pod is made, a while before its container serves. The
 * service map follows when the API server has told the agent that the old pod is gone, which may come later still: in
 * between, the service lists an address where another service answers.
 *
 * @param {World} world
 */
async function recycleAddress(world) {
  const cluster = world.cluster(own);
  const billing = { name: "billing-1a", address: podC.address };
  await cluster.stopPod(podC.name);
  world.giveToBilling(podC.address);
  // onehop looks at identities once a second, and at once when a call fails; a container takes longer to start.
  await sleep(1_500);
  await cluster.startPod(billing, BILLING.name);
  world.podNames.set(billing.address, billing.name);
  await sleep(1_200);
  world.forget(podC);
  await sleep(400);
  world.strayRequests += await cluster.stopPod(billing.name);
}
