import { describe, expect, it } from "vitest";
import {
  decodeIpcacheKey,
  decodeIpcacheValue,
  encodeIpcacheKey,
  encodeIpcacheValue,
  type IpcacheValue,
  identityOfIpcacheValue,
} from "../../src/cilium/ipcache-map.js";
import { clusterOfIdentity, identityInCluster } from "../../src/model/identity.js";
import { hex } from "../support/hex.js";
import { malformedMessage } from "../support/malformed.js";

const REMOTE_POD: IpcacheValue = {
  identity: 132_306,
  tunnelEndpoint: "172.18.0.5",
  encryptKey: 0,
  skipTunnel: false,
  hasTunnel: true,
  remoteCluster: false,
};
const V1_POD: IpcacheValue = {
  ...REMOTE_POD,
  encryptKey: undefined,
  hasTunnel: undefined,
  remoteCluster: undefined,
};
const V1_BYTES = hex("d2 04 02 00 ac 12 00 05 00 00 00 00");
const V2_BYTES = hex("d2 04 02 00 ac 12 00 05 00*12 00 00 00 02");

describe("keys of the ipcache", () => {
  it("count 32 bits in front of the address and have Cilium's own family numbers", () => {
    expect(encodeIpcacheKey("10.1.2.3")).toEqual(hex("40 00 00 00 00 00 00 01 0a 01 02 03 00*12"));
    expect(encodeIpcacheKey("fd00:1::5")).toEqual(hex("a0 00 00 00 00 00 00 02 fd 00 00 01 00*11 05"));
  });

  it("decode", () => {
    expect(decodeIpcacheKey(hex("40 00 00 00 00 00 00 01 0a 01 02 03 00*12"))).toEqual({
      address: "10.1.2.3",
      prefixLength: 32,
      clusterId: 0,
    });
    expect(decodeIpcacheKey(hex("a0 00 00 00 07 01 00 02 fd 00 00 01 00*11 05"))).toEqual({
      address: "fd00:1::5",
      prefixLength: 128,
      clusterId: 263,
    });
  });

  it("of prefixes have zeros past the prefix", () => {
    expect(encodeIpcacheKey("10.1.255.3", 20)).toEqual(hex("34 00 00 00 00 00 00 01 0a 01 f0 00 00*12"));
    expect(encodeIpcacheKey("10.1.2.3", 0)).toEqual(hex("20 00 00 00 00 00 00 01 00*16"));
    expect(encodeIpcacheKey("fd00::ffff", 127)).toEqual(hex("9f 00 00 00 00 00 00 02 fd 00*13 ff fe"));
    expect(decodeIpcacheKey(hex("38 00 00 00 00 00 00 01 0a 01 02 03 00*12"))).toEqual({
      address: "10.1.2.0",
      prefixLength: 24,
      clusterId: 0,
    });
  });

  it.each([
    ["family 7", "40 00 00 00 00 00 00 07 0a 01 02 03 00*12", ["cilium_ipcache key", "family is 7", "1 (IPv4)"]],
    ["prefix below the static one", "1f 00 00 00 00 00 00 01 00*16", ["prefixlen is 31", "32 to 64"]],
    ["IPv4 prefix of 33", "41 00 00 00 00 00 00 01 00*16", ["prefixlen is 65", "32 to 64"]],
    ["IPv6 prefix of 129", "a1 00 00 00 00 00 00 02 00*16", ["prefixlen is 161", "32 to 160"]],
    ["huge prefix", "ff ff ff ff 00 00 00 02 00*16", ["prefixlen is 4294967295"]],
    ["padding", "40 00 00 00 00 00 01 01 0a 01 02 03 00*12", ["pad is 01"]],
    ["bytes after IPv4", "40 00 00 00 00 00 00 01 0a 01 02 03 00*11 01", ["ip is", "zero bytes after"]],
    ["length", "00*20", ["20 bytes, expected 24"]],
  ])("are refused: %s", (_name, text, parts) => {
    const message = malformedMessage(() => decodeIpcacheKey(hex(text)));
    for (const part of parts) expect(message).toContain(part);
  });

  it.each([
    ["nonsense", undefined, 'ip is "nonsense"'],
    ["10.0.0.1", 33, "prefixlen is 33 bits of address, expected 0 to 32"],
    ["fd00::1", 129, "expected 0 to 128"],
    ["fd00::1", -1, "prefixlen is -1"],
    ["fd00::1", 1.5, "prefixlen is 1.5"],
  ])("cannot be encoded: %s/%s", (address, prefixLength, expected) => {
    expect(malformedMessage(() => encodeIpcacheKey(address, prefixLength))).toContain(expected);
  });
});

describe("values of the ipcache", () => {
  it("decode from 24 bytes (1.18 and later)", () => {
    expect(decodeIpcacheValue(V2_BYTES)).toEqual(REMOTE_POD);
    expect(encodeIpcacheValue(REMOTE_POD, 2)).toEqual(V2_BYTES);
  });

  it("decode from 12 bytes (up to 1.17), without what that layout does not have", () => {
    expect(decodeIpcacheValue(V1_BYTES)).toEqual(V1_POD);
    expect(encodeIpcacheValue(V1_POD, 1)).toEqual(V1_BYTES);
  });

  it("have the identity in the first four bytes of every version, in host order", () => {
    for (const bytes of [V1_BYTES, V2_BYTES, hex("d2 04 02 00")]) {
      expect(identityOfIpcacheValue(bytes)).toBe(identityInCluster(2, 1234, 255));
    }
    expect(clusterOfIdentity(identityOfIpcacheValue(V2_BYTES), 255)).toBe(2);
    expect(identityOfIpcacheValue(hex("01 00 00 ff"))).toBe(0xff000001);
  });

  it("have an IPv6 node where the flag says so", () => {
    const bytes = hex("02 00 00 00 fd 00*14 09 00 00 03 07");
    const value = { ...REMOTE_POD, identity: 2, tunnelEndpoint: "fd00::9", encryptKey: 3, skipTunnel: true };
    expect(decodeIpcacheValue(bytes)).toEqual(value);
    expect(encodeIpcacheValue(value, 2)).toEqual(bytes);
  });

  it("have no node when it is all zeros", () => {
    expect(decodeIpcacheValue(hex("d2 04 02 00 00*20")).tunnelEndpoint).toBeUndefined();
    expect(decodeIpcacheValue(hex("d2 04 02 00 00*8")).tunnelEndpoint).toBeUndefined();
  });

  it("say which flags are set, in either version", () => {
    expect(decodeIpcacheValue(hex("06 00*22 08")).remoteCluster).toBe(true);
    expect(decodeIpcacheValue(hex("06 00*22 01"))).toMatchObject({ skipTunnel: true, hasTunnel: false });
    expect(decodeIpcacheValue(hex("06 00*10 01")).skipTunnel).toBe(true);
  });

  it("tolerate padding and unknown flags", () => {
    expect(decodeIpcacheValue(hex("d2 04 02 00 ac 12 00 05 00*12 ff ff 00 f2"))).toEqual(REMOTE_POD);
  });

  it("derive the flag of the tunnel from the node where it is not given", () => {
    expect(encodeIpcacheValue({ ...REMOTE_POD, hasTunnel: undefined }, 2)).toEqual(V2_BYTES);
    expect(encodeIpcacheValue({ ...REMOTE_POD, tunnelEndpoint: undefined, hasTunnel: undefined }, 2)[23]).toBe(0);
  });

  it("of other lengths are refused", () => {
    expect(malformedMessage(() => decodeIpcacheValue(hex("00*16")))).toContain("16 bytes, expected 12 or 24");
    expect(malformedMessage(() => identityOfIpcacheValue(hex("00*3")))).toContain("3 bytes, expected at least 4");
  });

  it.each([
    [{ ...REMOTE_POD, identity: 2 ** 32 }, 2, "sec_identity is 4294967296"],
    [{ ...REMOTE_POD, tunnelEndpoint: "node-1" }, 2, 'tunnel_endpoint is "node-1", expected an IP address'],
    [{ ...REMOTE_POD, encryptKey: 256 }, 2, "key is 256"],
    [REMOTE_POD, 1, "key is 0, expected undefined in v1"],
    [{ ...V1_POD, hasTunnel: true }, 1, "flags is hasTunnel or remoteCluster"],
    [{ ...V1_POD, tunnelEndpoint: "fd00::9" }, 1, 'tunnel_endpoint is "fd00::9", expected an IPv4 address'],
  ] as const)("cannot be encoded: %j as v%d", (value, version, expected) => {
    expect(malformedMessage(() => encodeIpcacheValue(value, version))).toContain(expected);
  });
});
