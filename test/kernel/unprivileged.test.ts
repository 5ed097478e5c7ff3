/** What only another process can show: readers without privilege, seccomp filters, garbage collection on demand. */
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createBpfMapMaker } from "../../src/kernel/bpf-map-maker.js";
import { type BpfSyscall, loadBpfSyscall } from "../../src/kernel/bpf-syscall.js";
import { type Bpffs, mountBpffs } from "../support/bpffs.js";
import { type CompiledKernel, compileKernel } from "../support/compiled-kernel.js";
import { bytes, HASH } from "../support/kernel-conformance.js";
import { describeKernel } from "../support/kernel-gate.js";

const NOBODY = 65534;
const READERS = 1337;

interface ChildOptions {
  readonly userId?: number;
  readonly groupId?: number;
  readonly flags?: readonly string[];
}

describeKernel("the real kernel, from another process", () => {
  let bpffs: Bpffs;
  let compiled: CompiledKernel;
  let sys: BpfSyscall;

  beforeAll(async () => {
    bpffs = mountBpffs();
    compiled = compileKernel();
    sys = await loadBpfSyscall();
  });
  afterAll(() => {
    bpffs.unmount();
    compiled.remove();
  });

  function pinned(name: string, mode: number, groupId = 0): string {
    const maker = createBpfMapMaker(sys);
    const map = maker.create("shared", { ...HASH, maxEntries: 4096 });
    for (let fill = 0; fill < 256; fill += 1) map.update(bytes(12, fill), bytes(12, fill));
    maker.pin(map, bpffs.path(name));
    map.close();
    chownSync(bpffs.path(name), 0, groupId);
    chmodSync(bpffs.path(name), mode);
    return bpffs.path(name);
  }

  /** Runs `script` as a module in the compiled kernel's directory; what it passes to `report` comes back. */
  function child(script: string, options: ChildOptions = {}): unknown {
    const { userId = 0, groupId = userId, flags = [] } = options;
    const result = spawnSync(process.execPath, [...flags, "--input-type=module", "--eval", script], {
      cwd: compiled.directory,
      uid: userId,
      gid: groupId,
      encoding: "utf8",
      timeout: 60_000,
      env: { PATH: process.env["PATH"] ?? "" },
    });
    if (result.status !== 0) throw new Error(`child ended with ${result.status ?? result.signal}: ${result.stderr}`);
    return JSON.parse(result.stdout);
  }

  const opening = (path: string): string => `
    import { openKernel } from "./kernel/open-kernel.js";
    const shape = ${JSON.stringify(HASH)};
    let outcome;
    try {
      const reader = (await openKernel()).open(${JSON.stringify(path)}, shape);
      const value = new Uint8Array(12);
      outcome = { found: reader.lookup(new Uint8Array(12).fill(7), value), value: value[0] };
    } catch (error) {
      outcome = { reason: error.reason, message: error.message };
    }
    console.log(JSON.stringify(outcome));`;

  it("a pin of mode 0600 is file-mode for nobody, with mode, owner and fix in the message", () => {
    const path = pinned("private", 0o600);
    const outcome = child(opening(path), { userId: NOBODY }) as { reason: string; message: string };
    expect(outcome.reason).toBe("file-mode");
    expect(outcome.message).toContain(`the map pinned at ${path}: mode 0600, owner 0:0`);
    expect(outcome.message).toContain("runs as uid 65534, gids 65534");
    expect(outcome.message).toContain(`chmod 0640 ${path}`);
  });

  it("a pin that its group may read opens for nobody in that group, without any capability", () => {
    const path = pinned("grouped", 0o640, READERS);
    expect(child(opening(path), { userId: NOBODY, groupId: READERS })).toEqual({ found: true, value: 7 });
    expect(child(opening(path), { userId: NOBODY })).toMatchObject({ reason: "file-mode" });
  });

  it("a directory that may not be entered is named", () => {
    mkdirSync(bpffs.path("locked"));
    const path = pinned("locked/inside", 0o644);
    chmodSync(bpffs.path("locked"), 0o700);
    const outcome = child(opening(path), { userId: NOBODY }) as { reason: string; message: string };
    expect(outcome.reason).toBe("file-mode");
    expect(outcome.message).toContain(`may not enter ${bpffs.path("locked")} (mode 0700, owner 0:0)`);
  });

  it("nobody cannot make maps and is told why", () => {
    const outcome = child(
      `import { canMakeMaps } from "./kernel/can-make-maps.js";
       console.log(JSON.stringify(await canMakeMaps(${JSON.stringify(bpffs.directory)})));`,
      { userId: NOBODY },
    );
    expect(outcome).toEqual({ ok: false, reason: expect.stringMatching(/EPERM.*CAP_BPF/) });
  });

  it("a seccomp filter that refuses bpf(2) is recognised", () => {
    // What the RuntimeDefault profile does: errno EPERM for the number of bpf(2), everything else allowed.
    const filter = `
      import koffi from "koffi";
      const number = { x64: 321, arm64: 280 }[process.arch];
      const libc = koffi.load(null);
      const prctl = libc.func("int prctl(int option, unsigned long a, void *b, unsigned long c, unsigned long d)");
      const prctlPlain = libc.func("prctl", "int", ["int", "ulong", "ulong", "ulong", "ulong"]);
      const program = Buffer.alloc(32);
      const instruct = (at, code, jt, jf, k) => {
        program.writeUInt16LE(code, at * 8); program[at * 8 + 2] = jt; program[at * 8 + 3] = jf;
        program.writeUInt32LE(k, at * 8 + 4);
      };
      instruct(0, 0x20, 0, 0, 0);              // load the number of the call
      instruct(1, 0x15, 0, 1, number);         // bpf(2)?
      instruct(2, 0x06, 0, 0, 0x00050000 | 1); // errno EPERM
      instruct(3, 0x06, 0, 0, 0x7fff0000);     // allow
      const header = Buffer.alloc(16);
      header.writeUInt16LE(4, 0);
      header.writeBigUInt64LE(koffi.address(program), 8);
      if (prctlPlain(38, 1, 0, 0, 0) !== 0) throw new Error("no_new_privs: " + koffi.errno());
      if (prctl(22, 2, header, 0, 0) !== 0) throw new Error("seccomp: " + koffi.errno());
      globalThis.keep = program;`;
    const path = pinned("filtered", 0o644);
    const outcome = child(`${filter}\n${opening(path)}`, { userId: NOBODY }) as { reason: string; message: string };
    expect(outcome.reason).toBe("seccomp");
    expect(outcome.message).toMatch(/Localhost.*allows bpf.*Unconfined/);
  });

  it("look-ups survive garbage collection at any moment: values right, misses ENOENT and nothing else", () => {
    const first = pinned("gc1", 0o600);
    const second = pinned("gc2", 0o600);
    const outcome = child(
      `import { openKernel } from "./kernel/open-kernel.js";
       const kernel = await openKernel();
       const shape = ${JSON.stringify(HASH)};
       let readers = [];
       const key = new Uint8Array(12), value = new Uint8Array(12);
       const wrong = [];
       for (let round = 0; round < 40000; round++) {
         // Readers come and go, so that their memory would be freed early if nothing held it.
         if (round % 100 === 0) {
           for (const reader of readers) reader.close();
           readers = ${JSON.stringify([first, second])}.map((path) => kernel.open(path, shape));
         }
         if (round % 200 === 50) gc();
         const garbage = new Uint8Array(round % 4096).fill(0xaa);
         const present = round % 3 !== 0;
         key.fill(round & 0xff);
         if (!present) key[0] ^= 0xff;
         value.fill(0xee);
         const found = readers[round & 1].lookup(key, value);
         const right = found === present && value.every((byte) => byte === (present ? round & 0xff : 0xee));
         if (!right) wrong.push({ round, found, value: [...value], garbage: garbage.length });
       }
       console.log(JSON.stringify(wrong.slice(0, 3)));`,
      { flags: ["--expose-gc"] },
    );
    expect(outcome).toEqual([]);
  });

  it("importing the module loads no koffi", () => {
    const outcome = child(
      `import "./kernel/open-kernel.js";
       import { readFileSync } from "node:fs";
       console.log(JSON.stringify(/koffi/.test(readFileSync("/proc/self/maps", "utf8"))));`,
    );
    expect(outcome).toBe(false);
  });
});
