// The writing process of the storm: makes pinned maps of its own in a private bpffs and changes them without pause.
import { createBpfMapMaker } from "../../src/kernel/bpf-map-maker.js";
import { loadBpfSyscall } from "../../src/kernel/bpf-syscall.js";
import { seededRandom } from "../../src/random.js";
import { createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { StormPlan } from "./storm-plan.js";
import { monotonicMs, type StormOrder, type StormReport } from "./storm-process.js";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Maps are replaced at most so often, in milliseconds: a reader needs up to a second to notice. */
const SWAP_EVERY_MS = 6_000;

async function storm({ directory, version, changes, leastMs, seed }: StormOrder): Promise<void> {
  const random = seededRandom(seed);
  const maker = createBpfMapMaker(await loadBpfSyscall());
  const agent = createCiliumAgent({ maker, directory, version, families: [4] });
  agent.start();
  let swappedAt = monotonicMs();
  let swaps = 0;
  const maySwap = (): boolean => {
    if (monotonicMs() - swappedAt < SWAP_EVERY_MS) return false;
    swappedAt = monotonicMs();
    swaps += 1;
    return true;
  };
  const plan = new StormPlan(agent, random, monotonicMs, maySwap);
  plan.start();
  process.send?.({ kind: "ready" });
  const startedAt = monotonicMs();
  let operations = 0;
  while (agent.changes < changes || monotonicMs() - startedAt < leastMs) {
    // Now and then the writer stops between two writes for longer than a reader waits between two passes.
    const isSlow = random() < 0.05;
    for (const _ of plan.change()) {
      operations += 1;
      if (isSlow && random() < 0.2) await pause(1 + random() * 5);
    }
    // A hundred changes in a row without a breath from time to time, a few milliseconds of rest otherwise.
    if (random() < 0.002) for (let more = 0; more < 100; more += 1) for (const _ of plan.change()) operations += 1;
    await pause(random() * 5);
  }
  const report: StormReport = { operations, changes: agent.changes, swaps, log: plan.log };
  process.send?.({ kind: "done", report }, () => {
    agent.close();
    process.disconnect?.();
  });
}

process.once("message", (order: StormOrder) => {
  storm(order).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
});
process.on("disconnect", () => process.exit());
