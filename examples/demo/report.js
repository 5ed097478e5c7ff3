// @ts-check
/** The result, as one JSON object and as tables. */

/** @import { PhaseRecord, Recorder } from "./traffic.js" */

/**
 * @typedef {object} Result
 * @property {"real" | "simulated"} kernel
 * @property {number} calls
 * @property {number} failed
 * @property {number} retries
 * @property {Record<string, number>} perCluster answers
 * @property {{ name: string, calls: number, failed: number, p50Ms: number | null, p95Ms: number | null }[]} phases
 */

/**
 * @param {"real" | "simulated"} kernel
 * @param {Recorder} recorder
 * @param {readonly string[]} clusters
 * @returns {Result}
 */
export function result(kernel, recorder, clusters) {
  return {
    kernel,
    ...recorder.totals,
    perCluster: Object.fromEntries(clusters.map((name) => [name, answersOf(recorder.phases, name)])),
    phases: recorder.phases.map(({ name, calls, failed, latenciesMs }) => {
      return { name, calls, failed, p50Ms: quantile(latenciesMs, 0.5), p95Ms: quantile(latenciesMs, 0.95) };
    }),
  };
}

/**
 * A table by phase, whose last columns say which cluster answered.
 *
 * @param {Recorder} recorder
 * @param {readonly string[]} clusters
 * @returns {string[]} lines
 */
export function tables(recorder, clusters) {
  const { calls, failed, retries } = recorder.totals;
  const all = recorder.phases.flatMap(({ latenciesMs }) => latenciesMs);
  const head = ["phase", "calls", "failed", "retries", "p50 ms", "p95 ms", ...clusters];
  const rows = recorder.phases.map((phase) => [
    phase.name,
    ...[phase.calls, phase.failed, phase.retries].map(String),
    ...percentiles(phase.latenciesMs),
    ...clusters.map((name) => String(answersOf([phase], name))),
  ]);
  const sums = clusters.map((name) => String(answersOf(recorder.phases, name)));
  const total = ["all", ...[calls, failed, retries].map(String), ...percentiles(all), ...sums];
  return layOut([head, ...rows, total]);
}

/**
 * @param {readonly PhaseRecord[]} phases
 * @param {string} cluster
 */
function answersOf(phases, cluster) {
  return phases.reduce((sum, { perCluster }) => sum + (perCluster.get(cluster) ?? 0), 0);
}

/** @param {readonly number[]} values */
function percentiles(values) {
  return [0.5, 0.95].map((share) => quantile(values, share)?.toFixed(1) ?? "-");
}

/**
 * The value that `share` of all values do not exceed, to a tenth; null when there are none.
 *
 * @param {readonly number[]} values
 * @param {number} share
 */
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  return value === undefined ? null : Math.round(value * 10) / 10;
}

/**
 * Aligns columns: the first to the left, numbers to the right, a rule below the head and above the last row.
 *
 * @param {readonly string[][]} rows
 */
function layOut(rows) {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  "),
  );
  const rule = "─".repeat(lines[0]?.length ?? 0);
  return [...lines.slice(0, 1), rule, ...lines.slice(1, -1), rule, ...lines.slice(-1)];
}
