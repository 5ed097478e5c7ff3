import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ByteOrder, CONSTANTS, type FieldLayout, LAYOUTS, type StructLayout } from "../../src/cilium/layouts.js";
import { SERVICE_FLAGS } from "../../src/cilium/service-flags.js";

const HEADER = fileURLToPath(new URL("../../bpf/cilium_maps.h", import.meta.url));
const source = readFileSync(HEADER, "utf8");
const layouts: Readonly<Record<string, StructLayout>> = LAYOUTS;

/** Size, and order of a value that is no array. */
const C_TYPES: Readonly<Record<string, { size: number; order: ByteOrder }>> = {
  __u8: { size: 1, order: "bytes" },
  __u16: { size: 2, order: "host" },
  __u32: { size: 4, order: "host" },
  __be16: { size: 2, order: "network" },
  __be32: { size: 4, order: "network" },
};

interface ParsedStruct extends StructLayout {
  /** What the comments say. */
  readonly comments: Readonly<Record<string, number>>;
}

/** Reads the structs of the header: fields of the types above, unions without a name, natural alignment or packed. */
function parseStructs(text: string): Record<string, ParsedStruct> {
  const structs: Record<string, ParsedStruct> = {};
  for (const [, name = "", body = "", attribute] of text.matchAll(/^struct (\w+) \{\n(.*?)^\}(.*?);$/gms)) {
    structs[name] = parseStruct(body, attribute?.includes("packed") === true);
  }
  return structs;
}

function parseStruct(body: string, isPacked: boolean): ParsedStruct {
  const fields: Record<string, FieldLayout> = {};
  const comments: Record<string, number> = {};
  let end = 0;
  let alignment = 1;
  let union: { offset: number; size: number } | undefined;
  for (const line of body.trim().split("\n")) {
    const text = line.trim();
    if (text === "union {") {
      union = { offset: end, size: 0 };
    } else if (text === "};" && union !== undefined) {
      end = union.offset + union.size;
      union = undefined;
    } else {
      const match = /^\/\* (\d+) \*\/ (\w+) (\w+)(?:\[(\d+)\])?;/.exec(text);
      const type = C_TYPES[match?.[2] ?? ""];
      const name = match?.[3];
      if (match === null || type === undefined || name === undefined) throw new Error(`not understood: ${text}`);
      const align = isPacked ? 1 : type.size;
      const offset = union?.offset ?? Math.ceil(end / align) * align;
      const size = type.size * Number(match[4] ?? 1);
      if (offset % align !== 0) throw new Error(`a union at ${offset} is not aligned for ${text}`);
      fields[name] = { offset, size, order: type.order };
      comments[name] = Number(match[1]);
      alignment = Math.max(alignment, align);
      if (union === undefined) end = offset + size;
      else union.size = Math.max(union.size, size);
    }
  }
  return { size: Math.ceil(end / alignment) * alignment, fields, comments };
}

function parseConstants(text: string): Record<string, number> {
  const constants: Record<string, number> = {};
  for (const [, name = "", value = ""] of text.matchAll(/^#define (CILIUM_\w+) (\w+)/gm))
    constants[name] = Number(value);
  return constants;
}

/** `hostPort` is `CILIUM_FLAG_HOST_PORT`; flags of the high byte are `CILIUM_FLAG2_...` shifted down. */
function flagConstants(): Record<string, number> {
  return Object.fromEntries(
    Object.entries(SERVICE_FLAGS).map(([flag, bit]) => {
      const name = flag.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
      return bit > 0xff ? [`CILIUM_FLAG2_${name}`, bit >> 8] : [`CILIUM_FLAG_${name}`, bit];
    }),
  );
}

describe("bpf/cilium_maps.h, read as text", () => {
  const structs = parseStructs(source);

  it("has the structs of the layout table and no others", () => {
    expect(Object.keys(structs)).toEqual(Object.keys(layouts));
  });

  it.each(Object.entries(layouts))("lays %s out alike", (name, layout) => {
    expect(structs[name]?.size).toBe(layout.size);
    expect(structs[name]?.fields).toEqual(layout.fields);
  });

  it("has offsets in its comments that are true", () => {
    for (const { fields, comments } of Object.values(structs)) {
      const offsets = Object.entries(fields).map(([name, { offset }]) => [name, offset]);
      expect(comments).toEqual(Object.fromEntries(offsets));
    }
  });

  it("asserts the size of every struct", () => {
    const asserted = source.matchAll(/^_Static_assert\(sizeof\(struct (\w+)\) == (\d+), "(\w+)"\);$/gm);
    const sizes = [...asserted].map(([, name, size, label]) => [name, Number(size), label]);
    expect(sizes).toEqual(Object.entries(layouts).map(([name, { size }]) => [name, size, name]));
  });

  it("has the constants of the tables and no others", () => {
    expect(parseConstants(source)).toEqual({ ...CONSTANTS, ...flagConstants() });
  });
});

const hasCompiler = spawnSync("cc", ["--version"]).status === 0;
if (!hasCompiler) console.warn("skipped: bpf/cilium_maps.h is not compiled, since there is no C compiler (cc)");

describe.skipIf(!hasCompiler)("bpf/cilium_maps.h, compiled", () => {
  let directory = "";

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "onehop-header-"));
  });

  afterAll(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  it("gives every field the offset and size of the layout table", () => {
    const program = join(directory, "layout");
    writeFileSync(`${program}.c`, layoutProgram());
    execFileSync("cc", ["-std=c11", "-Wall", "-Wextra", "-Werror", "-o", program, `${program}.c`]);
    const printed: unknown = JSON.parse(execFileSync(program, { encoding: "utf8" }));
    expect(printed).toEqual(
      Object.fromEntries(
        Object.entries(layouts).map(([name, { size, fields }]) => [
          name,
          {
            size,
            fields: Object.fromEntries(
              Object.entries(fields).map(([field, layout]) => [field, [layout.offset, layout.size]]),
            ),
          },
        ]),
      ),
    );
  });
});

/** A C program that prints sizeof and offsetof of all structs and fields as JSON. */
function layoutProgram(): string {
  const lines = Object.entries(layouts).map(([name, { fields }], index) => {
    const type = `struct ${name}`;
    const members = Object.keys(fields).map((field) => {
      return `printf("\\"${field}\\":[%zu,%zu]", offsetof(${type}, ${field}), sizeof(((${type} *)0)->${field}));`;
    });
    const head = `printf("${index === 0 ? "" : ","}\\"${name}\\":{\\"size\\":%zu,\\"fields\\":{", sizeof(${type}));`;
    return [head, members.join('printf(",");'), 'printf("}}");'].join("\n");
  });
  return [
    "#include <stddef.h>",
    "#include <stdio.h>",
    `#include ${JSON.stringify(HEADER)}`,
    'int main(void) { printf("{");',
    ...lines,
    'printf("}"); return 0; }',
    "",
  ].join("\n");
}
