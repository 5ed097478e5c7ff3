import { describe, expect, it } from "vitest";
import {
  decodeServiceKey,
  decodeServiceMaster,
  decodeServiceSlot,
  encodeServiceKey,
  encodeServiceMaster,
  encodeServiceSlot,
  isWildcardKey,
  revNatOf,
  type ServiceKey,
  type ServiceMaster,
  setServiceKeySlot,
} from "../../src/cilium/service-map.js";
import { hex } from "../support/hex.js";
import { malformedMessage } from "../support/malformed.js";

function key(address: string, port: number, slot: number, rest: Partial<ServiceKey> = {}): ServiceKey {
  return { address, port, slot, protocol: "any", scope: "external", ...rest };
}

function master(fields: Partial<ServiceMaster>): ServiceMaster {
  return {
    count: 0,
    qcount: 0,
    revNat: 0,
    flags: 0,
    algorithm: "node-default",
    affinityTimeoutS: 0,
    l7ProxyPort: undefined,
    ...fields,
  };
}

describe("masters of real nodes", () => {
  it.each([
    [
      "0a fe e0 f8 00 50 00 00 00 00 00 00",
      "00 00 00 00 06 00 00 08 00 00 00 00",
      key("10.254.224.248", 80, 0),
      master({ count: 6, revNat: 8 }),
    ],
    [
      "0a fe 00 01 01 bb 00 00 00 00 00 00",
      "00 00 00 00 03 00 00 01 00 00 00 00",
      key("10.254.0.1", 443, 0),
      master({ count: 3, revNat: 1 }),
    ],
    [
      "ac 12 00 06 75 db 00 00 00 00 00 00",
      "00 00 00 00 03 00 00 08 42 00 00 00",
      key("172.18.0.6", 30171, 0),
      master({ count: 3, revNat: 8, flags: 0x42 }),
    ],
    [
      "c6 33 64 00 00 50 00 00 00 00 00 00",
      "00 00 00 00 03 00 00 08 60 00 00 00",
      key("198.51.100.0", 80, 0),
      master({ count: 3, revNat: 8, flags: 0x60 }),
    ],
  ])("%s -> %s", (keyText, valueText, expectedKey, expectedValue) => {
    expect(decodeServiceKey(hex(keyText))).toEqual(expectedKey);
    expect(encodeServiceKey(expectedKey)).toEqual(hex(keyText));
    expect(decodeServiceMaster(hex(valueText))).toEqual(expectedValue);
    expect(encodeServiceMaster(expectedValue)).toEqual(hex(valueText));
  });
});

describe("slots of real nodes", () => {
  it.each([
    ["0a fe e0 f8 00 50 01 00 00 00 00 00", "22 00 00 00 00 00 00 08 00 00 00 00", key("10.254.224.248", 80, 1), 34, 8],
    ["0a fe e0 f8 00 50 06 00 00 00 00 00", "27 00 00 00 00 00 00 08 00 00 00 00", key("10.254.224.248", 80, 6), 39, 8],
    ["0a fe 00 0a 23 c1 01 00 00 00 00 00", "12 00 00 00 00 00 00 05 00 00 00 00", key("10.254.0.10", 9153, 1), 18, 5],
    ["c6 33 64 00 00 50 01 00 00 00 00 00", "07 00 00 00 00 00 00 08 00 00 00 00", key("198.51.100.0", 80, 1), 7, 8],
  ])("%s -> %s", (keyText, valueText, expectedKey, backendId, revNat) => {
    expect(decodeServiceKey(hex(keyText))).toEqual(expectedKey);
    expect(encodeServiceKey(expectedKey)).toEqual(hex(keyText));
    expect(decodeServiceSlot(hex(valueText))).toEqual({ backendId, revNat, flags: 0 });
    expect(encodeServiceSlot({ backendId, revNat, flags: 0 })).toEqual(hex(valueText));
  });
});

describe("an entry with protocol, affinity and tail (1.17 and later)", () => {
  const dns = key("10.96.0.10", 53, 0, { protocol: "udp" });
  const value = master({
    count: 3,
    qcount: 1,
    revNat: 8,
    flags: 0x10,
    algorithm: "random",
    affinityTimeoutS: 10_800,
  });

  it("has the algorithm in the top byte of the affinity word", () => {
    expect(encodeServiceKey(dns)).toEqual(hex("0a 60 00 0a 00 35 00 00 11 00 00 00"));
    expect(encodeServiceMaster(value)).toEqual(hex("30 2a 00 01 03 00 00 08 10 00 01 00"));
    expect(decodeServiceMaster(hex("30 2a 00 01 03 00 00 08 10 00 01 00"))).toEqual(value);
  });

  it("has backend ids above a byte in host order in its slots", () => {
    const slot = hex("2c 01 00 00 00 00 00 08 10 00 00 00");
    expect(encodeServiceKey({ ...dns, slot: 2 })).toEqual(hex("0a 60 00 0a 00 35 02 00 11 00 00 00"));
    expect(decodeServiceSlot(slot)).toEqual({ backendId: 300, revNat: 8, flags: 0x10 });
    expect(encodeServiceSlot({ backendId: 300, revNat: 8, flags: 0x10 })).toEqual(slot);
  });

  it("has the IPv6 key of 24 bytes", () => {
    const bytes = hex("fd 00*14 0a 01 bb 00 00 06 00 00 00");
    expect(decodeServiceKey(bytes)).toEqual(key("fd00::a", 443, 0, { protocol: "tcp" }));
    expect(encodeServiceKey(key("fd00::a", 443, 0, { protocol: "tcp" }))).toEqual(bytes);
  });
});

describe("byte orders", () => {
  it("ports are in network order, slots in host order", () => {
    const bytes = encodeServiceKey(key("1.2.3.4", 0x1234, 0x5678, { protocol: "sctp", scope: "internal" }));
    expect(bytes).toEqual(hex("01 02 03 04 12 34 78 56 84 01 00 00"));
    expect(decodeServiceKey(bytes)).toEqual(key("1.2.3.4", 0x1234, 0x5678, { protocol: "sctp", scope: "internal" }));
  });

  it("rev_nat is in network order, counts are in host order, flags2 is the high byte", () => {
    const value = master({ count: 0x1234, qcount: 0x5678, revNat: 0x9abc, flags: 0x2010 });
    expect(encodeServiceMaster(value)).toEqual(hex("00 00 00 00 34 12 9a bc 10 20 78 56"));
    expect(decodeServiceMaster(hex("00 00 00 00 34 12 9a bc 10 20 78 56"))).toEqual(value);
    expect(revNatOf(hex("00 00 00 00 34 12 9a bc 10 20 78 56"))).toBe(0x9abc);
  });

  it("the L7 proxy port is in network order in the low half of the affinity word", () => {
    const bytes = hex("2a f9 00 00 02 00 00 07 00 04 00 00");
    const value = master({ count: 2, revNat: 7, flags: 0x0400, l7ProxyPort: 11_001 });
    expect(decodeServiceMaster(bytes)).toEqual(value);
    expect(encodeServiceMaster(value)).toEqual(bytes);
  });
});

describe("what differs between versions", () => {
  it("a wildcard entry of 1.19 is recognised by its port", () => {
    const wildcard = decodeServiceKey(hex("0a 60 00 0a 00 00 00 00 00 00 00 00"));
    expect(isWildcardKey(wildcard)).toBe(true);
    expect(isWildcardKey({ ...wildcard, port: 53 })).toBe(false);
    expect(decodeServiceMaster(hex("00*12"))).toEqual(master({}));
  });

  it("algorithms have names, unknown ones keep their number", () => {
    const algorithmOf = (byte: string): string => decodeServiceMaster(hex(`00 00 00 ${byte} 00*8`)).algorithm;
    expect(["00", "01", "02", "80", "05", "ff"].map(algorithmOf)).toEqual([
      "node-default",
      "random",
      "maglev",
      "custom",
      "algorithm 5",
      "algorithm 255",
    ]);
    expect(encodeServiceMaster(master({ algorithm: "algorithm 255" }))[3]).toBe(255);
  });

  it("a timeout of all 24 bits does not reach into the algorithm", () => {
    const value = decodeServiceMaster(hex("ff ff ff 02 00*8"));
    expect(value.affinityTimeoutS).toBe(0xffffff);
    expect(value.algorithm).toBe("maglev");
  });
});

describe("setServiceKeySlot", () => {
  it("moves a key in place, for both families", () => {
    for (const address of ["10.0.0.1", "fd00::1"]) {
      const bytes = encodeServiceKey(key(address, 80, 0, { protocol: "tcp" }));
      setServiceKeySlot(bytes, 517);
      expect(bytes).toEqual(encodeServiceKey(key(address, 80, 517, { protocol: "tcp" })));
    }
  });

  it("refuses slots that do not fit and buffers that are no key", () => {
    expect(malformedMessage(() => setServiceKeySlot(new Uint8Array(12), 65_536))).toContain("backend_slot is 65536");
    expect(malformedMessage(() => setServiceKeySlot(new Uint8Array(13), 1))).toContain("13 bytes");
  });
});

describe("malformed keys", () => {
  it.each([
    ["a length of no family", "00*11", ["cilium_lb{4,6}_services_v2 key", "length is 11 bytes", "12 or 24"]],
    ["no bytes", "", ["length is 0 bytes"]],
    ["protocol 1", "0a 00 00 01 00 50 00 00 01 00 00 00", ["cilium_lb4_services_v2 key", "proto is 1", "6 (tcp)"]],
    ["scope 2", "0a 00 00 01 00 50 00 00 06 02 00 00", ["scope is 2", "0 (external), 1 (internal)"]],
    ["padding", "0a 00 00 01 00 50 00 00 06 00 00 07", ["pad is 00 07", "zero bytes"]],
    ["IPv6 padding", "fd 00*14 0a 01 bb 00 00 06 00 01 00", ["cilium_lb6_services_v2 key", "pad is 01 00"]],
  ])("%s", (_name, text, parts) => {
    const message = malformedMessage(() => decodeServiceKey(text === "" ? new Uint8Array(0) : hex(text)));
    for (const part of parts) expect(message).toContain(part);
  });

  it.each([
    ["address", key("quotes.energy", 80, 0), 'address is "quotes.energy", expected an IP address'],
    ["port", key("10.0.0.1", 65_536, 0), "dport is 65536, expected an integer from 0 to 65535"],
    ["fractional port", key("10.0.0.1", 80.5, 0), "dport is 80.5"],
    ["slot", key("10.0.0.1", 80, -1), "backend_slot is -1"],
    ["not a number", key("10.0.0.1", Number.NaN, 0), "dport is NaN"],
  ])("cannot be encoded: %s", (_name, value, expected) => {
    expect(malformedMessage(() => encodeServiceKey(value))).toContain(expected);
  });
});

describe("malformed values", () => {
  it("wrong lengths are refused by every reader", () => {
    for (const read of [decodeServiceMaster, decodeServiceSlot, revNatOf]) {
      expect(malformedMessage(() => read(new Uint8Array(11)))).toContain("length is 11 bytes, expected 12");
    }
  });

  it("a slot without a backend id is refused: it is the value of another key", () => {
    expect(malformedMessage(() => decodeServiceSlot(hex("00 00 00 00 06 00 00 08 00 00 00 00")))).toContain(
      "backend_id is 0, expected at least 1",
    );
    expect(malformedMessage(() => encodeServiceSlot({ backendId: 0, revNat: 1, flags: 0 }))).toContain("at least 1");
  });

  it.each([
    [master({ flags: 0x1_0000 }), "flags is 65536"],
    [master({ flags: -1 }), "flags is -1"],
    [master({ count: 65_536 }), "count is 65536"],
    [master({ revNat: -1 }), "rev_nat is -1"],
    [master({ affinityTimeoutS: 0x100_0000 }), "affinity is 16777216 s"],
    [master({ affinityTimeoutS: 1.5 }), "affinity is 1.5 s"],
    [master({ algorithm: "algorithm 256" }), 'algorithm is "algorithm 256"'],
    [master({ algorithm: "algorithm -1" }), 'algorithm is "algorithm -1"'],
    [master({ flags: 0x0400 }), "l7_proxy_port is absent"],
    [master({ l7ProxyPort: 80 }), "l7_proxy_port is 80, expected none"],
    [master({ flags: 0x0400, l7ProxyPort: 65_536 }), "l7_proxy_port is 65536"],
  ])("cannot be encoded: %j", (value, expected) => {
    expect(malformedMessage(() => encodeServiceMaster(value))).toContain(expected);
  });
});
