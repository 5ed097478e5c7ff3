// @ts-check
/** Who is there and who answers: onehop's own view of the endpoints beside the answers that came. */

/** @import { EndpointExplanation, Mesh } from "onehop" */
/** @import { Recorder } from "./traffic.js" */
/** @import { World } from "./world.js" */

/**
 * @typedef {object} RosterRow
 * @property {string} cluster
 * @property {string} pod
 * @property {string} address
 * @property {number | undefined} identity
 * @property {number} answers so far
 * @property {number} recent answers since the roster before
 * @property {"used" | "refused" | "failing" | "waiting"} mood
 */

/** How well an endpoint must have done lately not to be shown as failing. */
const GOOD_SUCCESS_RATIO = 0.7;

/**
 * @param {Mesh} mesh
 * @param {string} service
 * @param {World} world
 * @param {Recorder} recorder
 */
export function createRoster(mesh, service, world, recorder) {
  /** @type {Map<string, number>} */
  let before = new Map();
  return {
    /** @returns {Promise<RosterRow[]>} */
    async read() {
      const { endpoints } = await mesh.service(service).explain();
      const answers = new Map(recorder.perPod);
      const rows = endpoints.map((endpoint) => {
        const { address, identity, cluster = "?" } = endpoint;
        const pod = world.podNames.get(address) ?? "?";
        const count = answers.get(pod) ?? 0;
        const recent = count - (before.get(pod) ?? 0);
        return { cluster, pod, address, identity, answers: count, recent, mood: moodOf(endpoint) };
      });
      before = answers;
      return rows.sort((a, b) => a.address.localeCompare(b.address, "en", { numeric: true }));
    },
  };
}

/**
 * @param {EndpointExplanation} endpoint
 * @returns {RosterRow["mood"]}
 */
function moodOf({ eligible, tier, successRate }) {
  if (tier === undefined && !eligible) return "refused";
  if (successRate < GOOD_SUCCESS_RATIO) return "failing";
  return eligible ? "used" : "waiting";
}
