// @ts-check
/** Steady calls by the name of the service, and what became of them. */
import { setTimeout as sleep } from "node:timers/promises";

/** @import { Mesh } from "onehop" */

/**
 * What a pod answers.
 *
 * @typedef {{ service: string, cluster: string, pod: string }} Answer
 */

/**
 * @typedef {object} PhaseRecord
 * @property {string} name
 * @property {number} calls
 * @property {number} failed
 * @property {number} retries
 * @property {number[]} latenciesMs of the calls that were answered
 * @property {Map<string, number>} perCluster
 */

/** Counts by phase; a call belongs to the phase it began in. */
export class Recorder {
  /** @type {PhaseRecord[]} */
  phases = [];
  /** Answers by name of the pod. */
  perPod = /** @type {Map<string, number>} */ (new Map());
  /** @type {string[]} */
  failures = [];

  /** @param {string} name */
  beginPhase(name) {
    this.phases.push({ name, calls: 0, failed: 0, retries: 0, latenciesMs: [], perCluster: new Map() });
  }

  get phase() {
    const phase = this.phases.at(-1);
    if (phase === undefined) throw new Error("no phase has begun");
    return phase;
  }

  retried() {
    this.phase.retries += 1;
  }

  /**
   * @param {PhaseRecord} phase
   * @param {Answer} answer
   * @param {number} latencyMs
   */
  answered(phase, answer, latencyMs) {
    phase.latenciesMs.push(latencyMs);
    phase.perCluster.set(answer.cluster, (phase.perCluster.get(answer.cluster) ?? 0) + 1);
    this.perPod.set(answer.pod, (this.perPod.get(answer.pod) ?? 0) + 1);
  }

  /**
   * @param {PhaseRecord} phase
   * @param {unknown} error
   */
  failed(phase, error) {
    phase.failed += 1;
    this.failures.push(`${phase.name}: ${reasonOf(error)}`);
  }

  /** Sums over all phases. */
  get totals() {
    const sum = (/** @type {"calls" | "failed" | "retries"} */ key) =>
      this.phases.reduce((total, phase) => total + phase[key], 0);
    return { calls: sum("calls"), failed: sum("failed"), retries: sum("retries") };
  }
}

/**
 * Begins a call every `everyMs`, whether or not those before are answered.
 *
 * @param {Mesh} mesh
 * @param {string} service
 * @param {Recorder} recorder
 * @param {number} everyMs
 */
export function startTraffic(mesh, service, recorder, everyMs) {
  const stopping = new AbortController();
  /** @type {Set<Promise<void>>} */
  const underWay = new Set();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const call = callOnce(mesh, service, recorder).finally(() => underWay.delete(call));
      underWay.add(call);
      await sleep(everyMs);
    }
  })();
  return {
    /** Begins no more calls, and waits for those under way. */
    async stop() {
      stopping.abort();
      await running;
      await Promise.all(underWay);
    },
  };
}

/**
 * @param {Mesh} mesh
 * @param {string} service
 * @param {Recorder} recorder
 */
async function callOnce(mesh, service, recorder) {
  const phase = recorder.phase;
  phase.calls += 1;
  const startedAt = performance.now();
  try {
    const response = await mesh.fetch(`http://${service}/v1/quotes`);
    const answer = /** @type {Answer} */ (await response.json());
    if (!response.ok) throw new Error(`${answer.pod} of ${answer.cluster} answered ${response.status}`);
    if (answer.service !== service) throw new Error(`${answer.pod} of another service, ${answer.service}, answered`);
    recorder.answered(phase, answer, performance.now() - startedAt);
  } catch (error) {
    recorder.failed(phase, error);
  }
}

/**
 * `fetch` wraps what went wrong into a TypeError.
 *
 * @param {unknown} error
 */
function reasonOf(error) {
  const cause = error instanceof TypeError ? (error.cause ?? error) : error;
  return cause instanceof Error ? cause.message : String(cause);
}
