import { join } from "node:path";
import { createBpfKernel } from "./bpf-kernel.js";
import { createBpfMapMaker } from "./bpf-map-maker.js";
import { loadBpfSyscall } from "./bpf-syscall.js";
import type { WritableMap } from "./kernel.js";
import { nearestExisting } from "./pin-path.js";
import { systemProbe } from "./system-probe.js";

/** Whether maps can be made, and if not, why and how to mend it. */
export type MapMakingAnswer = { readonly ok: true } | { readonly ok: false; readonly reason: string };

const PROBE_SHAPE = { type: "hash", keySize: 4, valueSizes: [4], maxEntries: 1 } as const;

/**
 * Tries whether this process can create a map, pin it in `directory` and open the pin: for demo, lab and tests, which
 * bring maps of their own. Leaves nothing behind: a directory that does not exist is not made, the nearest one above
 * it is tried instead. Never throws.
 */
export async function canMakeMaps(directory: string): Promise<MapMakingAnswer> {
  let map: WritableMap | undefined;
  try {
    const sys = await loadBpfSyscall();
    const maker = createBpfMapMaker(sys);
    map = maker.create("onehop_probe", PROBE_SHAPE);
    // The id is unique on the machine, so probes that run at the same time do not meet.
    const path = join(nearestExisting(directory, systemProbe), `onehop_probe_${map.info.id}`);
    maker.pin(map, path);
    try {
      createBpfKernel(sys).open(path, PROBE_SHAPE).close();
    } finally {
      maker.unpin(path);
    }
    return { ok: true };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  } finally {
    map?.close();
  }
}
