import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatHostPort, formatIpAddress, ipFamily, parseIpAddress } from "../../src/model/ip-address.js";
import { hex } from "../support/hex.js";

describe("parseIpAddress and formatIpAddress", () => {
  it.each([
    ["10.96.0.10", "0a 60 00 0a", "10.96.0.10"],
    ["255.255.255.255", "ff*4", "255.255.255.255"],
    ["::", "00*16", "::"],
    ["::1", "00*15 01", "::1"],
    ["1::", "00 01 00*14", "1::"],
    ["FD00:0:0:0:0:0:0:A", "fd 00*14 0a", "fd00::a"],
    ["fd00:0001::0005", "fd 00 00 01 00*11 05", "fd00:1::5"],
    ["::ffff:10.1.2.3", "00*10 ff ff 0a 01 02 03", "::ffff:a01:203"],
    ["1:2:3:4:5:6:1.2.3.4", "00 01 00 02 00 03 00 04 00 05 00 06 01 02 03 04", "1:2:3:4:5:6:102:304"],
    ["1:0:0:2:0:0:0:3", "00 01 00*4 00 02 00*6 00 03", "1:0:0:2::3"],
    ["1:0:0:2:0:0:3:4", "00 01 00*4 00 02 00*4 00 03 00 04", "1::2:0:0:3:4"],
    ["1:0:2:3:4:5:6:7", "00 01 00 00 00 02 00 03 00 04 00 05 00 06 00 07", "1:0:2:3:4:5:6:7"],
    ["1:2:3:4:5:6:7::", "00 01 00 02 00 03 00 04 00 05 00 06 00 07 00 00", "1:2:3:4:5:6:7:0"],
  ])("%s", (text, bytes, canonical) => {
    expect(parseIpAddress(text)).toEqual(hex(bytes));
    expect(formatIpAddress(hex(bytes))).toBe(canonical);
  });

  it.each([
    "",
    "10.0.0",
    "10.0.0.0.1",
    "10.0.0.256",
    "10.0.0.01",
    "10.0.0.-1",
    "10.0.0.1 ",
    "0x0a.0.0.1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "1::2::3",
    ":::",
    ":",
    "1:",
    ":1",
    "12345::",
    "g::",
    "fe80::1%eth0",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3",
    "[::1]",
    "quotes.energy",
  ])("refuses %j", (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
    expect(ipFamily(text)).toBeUndefined();
    expect(isIP(text.replace(/%.*/, "%")), "node:net agrees").toBe(0);
  });

  it("refuses other lengths", () => {
    expect(() => formatIpAddress(new Uint8Array(5))).toThrow(RangeError);
  });

  it("round trips, and the text is what the URL standard makes of an address", () => {
    const ipv6 = fc.array(fc.constantFrom(0, 0, 1, 0xab, 0xff), { minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(fc.oneof(ipv6, fc.uint8Array({ minLength: 16, maxLength: 16 })), (array) => {
        const bytes = Uint8Array.from(array);
        const text = formatIpAddress(bytes);
        expect(parseIpAddress(text)).toEqual(bytes);
        expect(ipFamily(text)).toBe(6);
        expect(new URL(`http://[${text}]/`).hostname).toBe(`[${text}]`);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes) => {
        expect(parseIpAddress(formatIpAddress(bytes))).toEqual(bytes);
        expect(ipFamily(formatIpAddress(bytes))).toBe(4);
      }),
    );
  });

  it("agrees with node:net on what is an address", () => {
    const piece = fc.constantFrom("0", "1", "ffff", "10", "255", ":", "::", ".", "1.2.3.4", "g", "00");
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.array(piece, { maxLength: 17 }).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        expect(ipFamily(candidate) ?? 0).toBe(isIP(candidate));
      }),
      { numRuns: 3000 },
    );
  });
});

describe("formatHostPort", () => {
  it("puts brackets around IPv6 only", () => {
    expect(formatHostPort("10.1.2.3", 80)).toBe("10.1.2.3:80");
    expect(formatHostPort("fd00::1", 443)).toBe("[fd00::1]:443");
  });
});
