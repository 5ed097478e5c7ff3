import { describe, expect, it } from "vitest";
import {
  decodeReverseNat,
  decodeReverseNatKey,
  encodeReverseNat,
  encodeReverseNatKey,
} from "../../src/cilium/reverse-nat-map.js";
import { hex } from "../support/hex.js";
import { malformedMessage } from "../support/malformed.js";

describe("the reverse NAT maps", () => {
  it("have keys in network order", () => {
    expect(encodeReverseNatKey(8)).toEqual(hex("00 08"));
    expect(encodeReverseNatKey(0x1234)).toEqual(hex("12 34"));
    expect(decodeReverseNatKey(hex("12 34"))).toBe(0x1234);
  });

  it("lead back to the frontend, in 6 packed bytes or 18", () => {
    expect(decodeReverseNat(hex("0a 60 00 0a 00 35"))).toEqual({ address: "10.96.0.10", port: 53 });
    expect(encodeReverseNat({ address: "10.96.0.10", port: 53 })).toEqual(hex("0a 60 00 0a 00 35"));
    expect(decodeReverseNat(hex("fd 00*14 0a 01 bb"))).toEqual({ address: "fd00::a", port: 443 });
    expect(encodeReverseNat({ address: "fd00::a", port: 443 })).toEqual(hex("fd 00*14 0a 01 bb"));
  });

  it("refuse other lengths and what does not fit", () => {
    expect(malformedMessage(() => decodeReverseNat(hex("00*8")))).toContain("8 bytes, expected 6 or 18");
    expect(malformedMessage(() => decodeReverseNatKey(hex("00")))).toContain("1 bytes, expected 2");
    expect(malformedMessage(() => encodeReverseNatKey(65_536))).toContain("rev_nat is 65536");
    expect(malformedMessage(() => encodeReverseNat({ address: "::ffff", port: 70_000 }))).toContain("port is 70000");
    expect(malformedMessage(() => encodeReverseNat({ address: "", port: 1 }))).toContain('address is ""');
  });
});
