// @ts-check
/** Where Cilium's maps are: pinned in this machine's kernel where the process may do that, else in memory. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createBpfMapMaker } from "../../dist/kernel/bpf-map-maker.js";
import { loadBpfSyscall } from "../../dist/kernel/bpf-syscall.js";
import { canMakeMaps } from "../../dist/kernel/can-make-maps.js";
import { createFakeKernel } from "../../dist/kernel/fake-kernel.js";

/** @import { Kernel, MapMaker } from "../../dist/kernel/kernel.js" */

/**
 * @typedef {object} Maps
 * @property {"real" | "simulated"} kind
 * @property {string} why
 * @property {MapMaker} maker writes, as Cilium's agent does
 * @property {Kernel | undefined} kernel reads; undefined for bpfDiscovery's own default, bpf(2)
 * @property {string} directory where the maps are pinned
 * @property {() => void} close
 */

/** @returns {Promise<Maps>} */
export async function openMaps() {
  if (process.env["ONEHOP_DEMO_KERNEL"] === "simulated") return simulated("asked for by ONEHOP_DEMO_KERNEL");
  if (process.platform !== "linux") return simulated(`eBPF is Linux only, this is ${process.platform}`);
  if (process.geteuid?.() !== 0) return simulated("making and pinning maps takes root");
  /** @type {ReturnType<typeof mountBpffs>} */
  let bpffs;
  try {
    bpffs = mountBpffs();
  } catch (error) {
    return simulated(`no bpffs can be mounted: ${/** @type {Error} */ (error).message.trim().split("\n").at(-1)}`);
  }
  const answer = await canMakeMaps(bpffs.directory);
  if (!answer.ok) {
    bpffs.unmount();
    return simulated(answer.reason);
  }
  return {
    kind: "real",
    why: `this process may make maps; they are pinned on a bpffs of their own, ${bpffs.directory}`,
    maker: createBpfMapMaker(await loadBpfSyscall()),
    kernel: undefined,
    directory: join(bpffs.directory, "tc/globals"),
    close: bpffs.unmount,
  };
}

/**
 * @param {string} why
 * @returns {Maps}
 */
function simulated(why) {
  const kernel = createFakeKernel();
  const directory = "/sys/fs/bpf/tc/globals";
  return { kind: "simulated", why, maker: kernel, kernel, directory, close: () => {} };
}

/** A bpffs that nobody else uses, so that the maps of a Cilium on this machine are out of reach. */
function mountBpffs() {
  const directory = mkdtempSync(join(tmpdir(), "onehop-demo-"));
  try {
    execFileSync("mount", ["-t", "bpf", "bpf", directory], { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    rmdirSync(directory);
    throw error;
  }
  let isMounted = true;
  function unmount() {
    if (!isMounted) return;
    isMounted = false;
    execFileSync("umount", [directory], { stdio: "ignore" });
    rmdirSync(directory);
  }
  return { directory, unmount };
}
