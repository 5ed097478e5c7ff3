import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Discovery, DiscoveryUpdate, WatchTarget } from "../../src/discovery/discovery.js";
import { readEndpointFile } from "../../src/discovery/endpoint-file.js";
import { type FileDiscoveryOptions, fileDiscovery } from "../../src/discovery/file-discovery.js";
import { isOnehopError } from "../../src/errors.js";
import { parseServiceHost } from "../../src/model/service-ref.js";
import { runChild } from "../support/child-script.js";
import { ManualClock } from "../support/manual-clock.js";

let folder: string;
let path: string;
const open: Discovery[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "onehop-file-"));
  path = join(folder, "services.json");
});
afterEach(async () => {
  for (const discovery of open.splice(0)) await discovery.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Long enough that only the reports of the system can be what is noticed. */
const NO_POLL_MS = 600_000;
/** How long a file is left to settle after a report. */
const SETTLE_MS = 25;

function start(options: Partial<FileDiscoveryOptions> = {}): Discovery {
  const discovery = fileDiscovery({ path, pollMs: NO_POLL_MS, ...options });
  open.push(discovery);
  return discovery;
}

function target(host: string, port = 80): WatchTarget {
  const service = parseServiceHost(host);
  if (service === undefined) throw new Error(`${host} is no service`);
  return { service, port, addresses: async () => ({ addresses: [], ttlMs: 0 }) };
}

function listen(discovery: Discovery, host = "quotes.energy") {
  const told: DiscoveryUpdate[] = [];
  const watch = discovery.watch(target(host), (update) => told.push(update));
  /** Waits for the latest update to be this kind with these addresses. */
  const until = (kind: DiscoveryUpdate["kind"], ...addresses: string[]) =>
    vi.waitFor(
      () => {
        const last = told.at(-1);
        expect(last?.kind).toBe(kind);
        if (last?.kind === "view") expect(last.endpoints.map((endpoint) => endpoint.address)).toEqual(addresses);
        return last;
      },
      { timeout: 8_000, interval: 5 },
    );
  return { told, watch, until };
}

/** Replaces the file at once, so that no half of it can be read. */
function replace(text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

function content(...addresses: string[]): string {
  return JSON.stringify({ localCluster: "eu", services: { "quotes.energy": addresses } });
}

describe("fileDiscovery", () => {
  it("reads the file and follows it when it is written in place", async () => {
    writeFileSync(path, content("10.0.0.1"));
    const discovery = start();
    expect(discovery.localCluster()).toBeUndefined();
    const { told, until } = listen(discovery);
    expect(told).toEqual([]);
    await until("view", "10.0.0.1");
    expect(discovery.localCluster()).toEqual({ number: undefined, name: "eu" });
    writeFileSync(path, content("10.0.0.2"));
    await until("view", "10.0.0.2");
  });

  it("follows a file that is replaced by renaming", async () => {
    writeFileSync(path, content("10.0.0.1"));
    const { told, until } = listen(start());
    await until("view", "10.0.0.1");
    for (const address of ["10.0.0.2", "10.0.0.3"]) {
      replace(content(address));
      await until("view", address);
    }
    expect(told.map((update) => update.kind)).toEqual(["view", "view", "view"]);
  });

  it("follows a ConfigMap volume, whose link ..data is swapped", async () => {
    const publish = (version: string, text: string) => {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, "services.json"), text);
      symlinkSync(version, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    publish("..1", content("10.0.0.1"));
    symlinkSync("..data/services.json", path);
    const { told, until } = listen(start());
    await until("view", "10.0.0.1");
    publish("..2", content("10.0.0.2"));
    await until("view", "10.0.0.2");
    rmSync(join(folder, "..1"), { recursive: true });
    publish("..3", content("10.0.0.3"));
    await until("view", "10.0.0.3");
    expect(told.map((update) => update.kind)).toEqual(["view", "view", "view"]);
  });

  it("keeps the last good view while the content is wrong, and takes the repaired one", async () => {
    replace(content("10.0.0.1"));
    const discovery = start();
    const { until } = listen(discovery);
    await until("view", "10.0.0.1");
    replace('{\n  "services": {,\n}');
    const doubt = await until("doubt");
    expect(doubt).toMatchObject({
      error: {
        code: "ERR_ONEHOP_MALFORMED",
        message: expect.stringMatching(/services\.json: no valid JSON at line 2, column 16: /),
      },
    });
    expect(await discovery.knows(target("quotes.energy"))).toBe(true);

    // A watch that comes now gets the last good view and the doubt.
    const late = listen(discovery);
    await late.until("doubt");
    expect(late.told.map((update) => update.kind)).toEqual(["view", "doubt"]);

    replace('{"services": {"quotes.energy": [{"address": "10.0.0.1", "prot": 80}]}}');
    await vi.waitFor(() => expect(late.told).toHaveLength(3), { timeout: 8_000 });
    expect(late.told[2]).toMatchObject({
      kind: "doubt",
      reason: `${path}: services["quotes.energy"][0].prot is not a known key; did you mean port?`,
    });
    replace(content("10.0.0.1"));
    await until("view", "10.0.0.1");
    await late.until("view", "10.0.0.1");
  });

  it("says that the file is missing, and works as soon as it appears", async () => {
    const discovery = start();
    const { told, until } = listen(discovery);
    expect(await until("unavailable")).toMatchObject({
      reason: `${path} does not exist`,
      error: { code: "ERR_ONEHOP_DISCOVERY_UNAVAILABLE", cause: { code: "ENOENT" } },
    });
    expect(await discovery.knows(target("quotes.energy"))).toBe(false);
    replace(content("10.0.0.1"));
    await until("view", "10.0.0.1");
    expect(told.map((update) => update.kind)).toEqual(["unavailable", "view"]);
  });

  it("keeps the last good view when the file is deleted, and takes the same content again", async () => {
    writeFileSync(path, content("10.0.0.1"));
    const { told, until } = listen(start());
    await until("view", "10.0.0.1");
    unlinkSync(path);
    await until("unavailable");
    replace(content("10.0.0.1"));
    await until("view", "10.0.0.1");
    expect(told.map((update) => update.kind)).toEqual(["view", "unavailable", "view"]);
  });

  it("finds a folder that appears later, and one that is replaced, by looking now and then", async () => {
    const inner = join(folder, "mount");
    const { until } = listen(start({ path: join(inner, "services.json"), pollMs: 20 }));
    await until("unavailable");
    mkdirSync(inner);
    writeFileSync(join(inner, "services.json"), content("10.0.0.1"));
    await until("view", "10.0.0.1");
    renameSync(inner, `${inner}.old`);
    mkdirSync(inner);
    writeFileSync(join(inner, "services.json"), content("10.0.0.2"));
    await until("view", "10.0.0.2");
  });

  it("watches the new folder once it has noticed that the folder was replaced", async () => {
    const clock = new ManualClock();
    const inner = join(folder, "mount");
    mkdirSync(inner);
    writeFileSync(join(inner, "services.json"), content("10.0.0.1"));
    const { told, until } = listen(start({ path: join(inner, "services.json"), pollMs: NO_POLL_MS, clock }));
    await until("view", "10.0.0.1");
    renameSync(inner, `${inner}.old`);
    mkdirSync(inner);
    writeFileSync(join(inner, "services.json"), content("10.0.0.2"));
    // What the system reports of the old folder has come after this.
    await new Promise((resolve) => setTimeout(resolve, 100));
    clock.advance(NO_POLL_MS);
    await until("view", "10.0.0.2");
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    renameSync(join(inner, "services.json"), join(inner, "aside"));
    await vi.waitFor(
      () => {
        clock.advance(SETTLE_MS);
        expect(told.at(-1)?.kind).toBe("unavailable");
      },
      { timeout: 8_000, interval: 5 },
    );
    expect(clock.now()).toBeLessThan(2 * NO_POLL_MS);
    expect(clock.foregroundTimerCount).toBe(0);
  });

  it("looks at once when a watch asks for it", async () => {
    const outside = join(folder, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "real.json"), content("10.0.0.1"));
    symlinkSync(join(outside, "real.json"), path);
    const { watch, until } = listen(start());
    await until("view", "10.0.0.1");
    writeFileSync(join(outside, "real.json"), content("10.0.0.22"));
    for (let round = 0; round < 1_000; round += 1) watch.refresh();
    await until("view", "10.0.0.22");
  });

  it("does not read what is no regular file", async () => {
    mkdirSync(path);
    const { until } = listen(start());
    expect(await until("unavailable")).toMatchObject({ reason: `${path} is no regular file` });
    rmSync(path, { recursive: true });
    if (spawnSync("mkfifo", [path]).status !== 0) return;
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await until("unavailable")).toMatchObject({ reason: `${path} is no regular file` });
  });

  it("tells watches only what changes for them", async () => {
    writeFileSync(path, content("10.0.0.1"));
    const discovery = start();
    const known = listen(discovery);
    const unknown = listen(discovery, "other.energy");
    await known.until("view", "10.0.0.1");
    await unknown.until("absent");
    writeFileSync(path, content("10.0.0.2"));
    await known.until("view", "10.0.0.2");
    expect(unknown.told).toHaveLength(1);
  });

  it("tells nothing of the file after close", async () => {
    writeFileSync(path, content("10.0.0.1"));
    const discovery = start();
    const { told } = listen(discovery);
    await discovery.close();
    await discovery.close();
    const late = listen(discovery);
    writeFileSync(path, content("10.0.0.2"));
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(told).toEqual([]);
    expect(late.told).toEqual([{ kind: "unavailable", reason: "the discovery was closed; make another" }]);
    expect(await discovery.knows(target("quotes.energy"))).toBe(false);
  });

  it("refuses wrong options", () => {
    expect(() => fileDiscovery({ path: "" })).toThrow(/options\.path: expected the path of a JSON file/);
    expect(() => fileDiscovery({ path, pollMs: Number.NaN })).toThrow(/options\.pollMs: expected milliseconds/);
  });

  it("belongs to one mesh", () => {
    const discovery = start();
    discovery.attach({ notify: () => undefined });
    expect(() => discovery.attach({ notify: () => undefined })).toThrow(
      expect.objectContaining({
        code: "ERR_ONEHOP_CONFIG",
        message: "a discovery belongs to one mesh; make another with fileDiscovery()",
      }),
    );
  });

  it("T-23: a process that watches a file ends by itself", async () => {
    writeFileSync(path, content("10.0.0.1"));
    const script = `
      const { fileDiscovery } = await import(src + "/discovery/file-discovery.js");
      const discovery = fileDiscovery({ path: input.path, pollMs: 50 });
      const service = { id: "quotes.energy", name: "quotes", namespace: "energy", domain: "cluster", host: "quotes.energy" };
      const update = await new Promise((resolve) => {
        discovery.watch({ service, port: 80, addresses: async () => ({ addresses: [], ttlMs: 0 }) }, resolve);
      });
      console.log(update.endpoints[0].address);
      setTimeout(() => console.log("last work"), 200);
    `;
    expect(await runChild(script, { path })).toEqual({ exitCode: 0, stdout: "10.0.0.1\nlast work\n", stderr: "" });
  });
});

describe("readEndpointFile", () => {
  const cases: readonly [bytes: Uint8Array, message: RegExp][] = [
    [new Uint8Array(), /^f: the file is empty/],
    [new Uint8Array([0xff, 0xfe, 0x7b]), /^f: the file is not UTF-8 text/],
    [Buffer.from('{"services":'), /^f: no valid JSON at line 1, column 13: Unexpected end of JSON input/],
    [Buffer.from("nonsense"), /^f: no valid JSON.*: Unexpected token/],
    [Buffer.from("[".repeat(200_000)), /^f: no valid JSON/],
    [Buffer.from(`${"[".repeat(100_000)}${"]".repeat(100_000)}`), /^f: the whole is a list/],
  ];
  it.each(cases)("refuses content %#", (bytes, message) => {
    expect(() => readEndpointFile(bytes, "f")).toThrow(message);
  });

  it("takes a byte order mark", () => {
    expect(readEndpointFile(Buffer.from('\uFEFF{"services":{}}'), "f").localCluster).toBeUndefined();
  });

  it("takes any JSON and any bytes, or refuses them with its own error", () => {
    const anyBytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
      fc.jsonValue().map((services) => Buffer.from(JSON.stringify({ services }))),
      fc.dictionary(fc.domain(), fc.array(fc.jsonValue())).map((services) => Buffer.from(JSON.stringify({ services }))),
    );
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        try {
          expect(readEndpointFile(bytes, "f").endpoints).toBeTypeOf("function");
        } catch (error) {
          expect(isOnehopError(error) && error.code).toBe("ERR_ONEHOP_MALFORMED");
        }
      }),
      { numRuns: 1_000 },
    );
  });
});
