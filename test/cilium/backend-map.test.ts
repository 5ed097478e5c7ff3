import { describe, expect, it } from "vitest";
import {
  type Backend,
  decodeBackend,
  decodeBackendKey,
  encodeBackend,
  encodeBackendKey,
} from "../../src/cilium/backend-map.js";
import { hex } from "../support/hex.js";
import { malformedMessage } from "../support/malformed.js";

const POD: Backend = { address: "10.1.2.3", port: 8080, protocol: "tcp", state: "active", clusterId: 0, zone: 2 };
const POD6: Backend = { ...POD, address: "fd00:1::5", port: 8443, state: "terminating", zone: 0 };

describe("keys of the backends maps", () => {
  it("are in host order", () => {
    expect(encodeBackendKey(300)).toEqual(hex("2c 01 00 00"));
    expect(encodeBackendKey(0xfedcba98)).toEqual(hex("98 ba dc fe"));
    expect(decodeBackendKey(hex("98 ba dc fe"))).toBe(0xfedcba98);
  });

  it("are at least 1 and fit 32 bits", () => {
    expect(malformedMessage(() => decodeBackendKey(hex("00*4")))).toContain("backend_id is 0");
    expect(malformedMessage(() => encodeBackendKey(0))).toContain("backend_id is 0");
    expect(malformedMessage(() => encodeBackendKey(2 ** 32))).toContain("backend_id is 4294967296");
    expect(malformedMessage(() => decodeBackendKey(hex("01 00")))).toContain("length is 2 bytes, expected 4");
  });
});

describe("backends", () => {
  it("decode from 12 bytes of v3 for IPv4", () => {
    expect(decodeBackend(hex("0a 01 02 03 1f 90 06 00 00 00 02 00"))).toEqual(POD);
    expect(encodeBackend(POD)).toEqual(hex("0a 01 02 03 1f 90 06 00 00 00 02 00"));
  });

  it("decode from 24 bytes of v3 for IPv6", () => {
    const bytes = hex("fd 00 00 01 00*11 05 20 fb 06 01 00 00 00 00");
    expect(decodeBackend(bytes)).toEqual(POD6);
    expect(encodeBackend(POD6)).toEqual(bytes);
  });

  it("decode from 8 and 20 bytes of v2, without cluster and zone", () => {
    expect(decodeBackend(hex("0a 01 02 03 1f 90 00 02"))).toEqual({
      ...POD,
      protocol: "any",
      state: "quarantined",
      zone: 0,
    });
    expect(encodeBackend({ ...POD, zone: 0 }, 2)).toEqual(hex("0a 01 02 03 1f 90 06 00"));
    expect(decodeBackend(hex("fd 00 00 01 00*11 05 20 fb 06 01"))).toEqual(POD6);
    expect(encodeBackend(POD6, 2)).toEqual(hex("fd 00 00 01 00*11 05 20 fb 06 01"));
  });

  it("carry a cluster of one byte (1.13) or two alike, in host order", () => {
    expect(decodeBackend(hex("0a 01 02 03 1f 90 06 00 07 00 00 00")).clusterId).toBe(7);
    expect(decodeBackend(hex("0a 01 02 03 1f 90 06 00 07 01 00 00")).clusterId).toBe(263);
    expect(encodeBackend({ ...POD6, clusterId: 263 }).slice(20, 22)).toEqual(hex("07 01"));
  });

  it("have the four states of the map, which differ from Cilium's numbers in memory", () => {
    const states = ["00", "01", "02", "03"].map(
      (byte) => decodeBackend(hex(`0a 01 02 03 1f 90 06 ${byte} 00*4`)).state,
    );
    expect(states).toEqual(["active", "terminating", "quarantined", "maintenance"]);
  });

  it("tolerate padding in the value", () => {
    expect(decodeBackend(hex("0a 01 02 03 1f 90 06 00 00 00 02 ff"))).toEqual(POD);
  });

  it.each([
    ["state 4", "0a 01 02 03 1f 90 06 04 00*4", ["cilium_lb4_backends_v3 value", "state is 4", "3 (maintenance)"]],
    ["protocol 58", "0a 01 02 03 1f 90 3a 00 00*4", ["proto is 58", "0 (any)"]],
    ["IPv6 state", "fd 00*15 20 fb 06 ff 00*4", ["cilium_lb6_backends_v3 value", "state is 255"]],
    ["v2 state", "0a 01 02 03 1f 90 06 09", ["cilium_lb4_backends_v2 value", "state is 9"]],
    ["length", "00*13", ["cilium_lb{4,6}_backends value", "13 bytes", "12 or 24 or 8 or 20"]],
  ])("are refused: %s", (_name, text, parts) => {
    const message = malformedMessage(() => decodeBackend(hex(text)));
    for (const part of parts) expect(message).toContain(part);
  });

  it.each([
    [{ ...POD, address: "10.1.2" }, 3, 'address is "10.1.2"'],
    [{ ...POD, port: -1 }, 3, "port is -1"],
    [{ ...POD, zone: 256 }, 3, "zone is 256"],
    [{ ...POD, clusterId: 65_536 }, 3, "cluster_id is 65536"],
    [POD, 2, "cluster_id and zone is 0 and 2"],
  ] as const)("cannot be encoded: %j as v%d", (backend, version, expected) => {
    expect(malformedMessage(() => encodeBackend(backend, version))).toContain(expected);
  });
});
