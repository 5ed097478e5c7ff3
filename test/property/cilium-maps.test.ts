import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Backend,
  decodeBackend,
  decodeBackendKey,
  encodeBackend,
  encodeBackendKey,
} from "../../src/cilium/backend-map.js";
import {
  decodeIpcacheKey,
  decodeIpcacheValue,
  encodeIpcacheKey,
  encodeIpcacheValue,
  type IpcacheValue,
  identityOfIpcacheValue,
} from "../../src/cilium/ipcache-map.js";
import type { Protocol } from "../../src/cilium/protocol.js";
import {
  decodeReverseNat,
  decodeReverseNatKey,
  encodeReverseNat,
  encodeReverseNatKey,
} from "../../src/cilium/reverse-nat-map.js";
import { isL7Proxy } from "../../src/cilium/service-flags.js";
import {
  decodeServiceKey,
  decodeServiceMaster,
  decodeServiceSlot,
  encodeServiceKey,
  encodeServiceMaster,
  encodeServiceSlot,
  type LbAlgorithm,
  revNatOf,
  type ServiceMaster,
} from "../../src/cilium/service-map.js";
import { isOnehopError } from "../../src/errors.js";
import type { BackendState } from "../../src/model/endpoint.js";
import { formatIpAddress } from "../../src/model/ip-address.js";

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const id = fc.integer({ min: 1, max: 0xffff_ffff });
const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length });
const ipv4 = bytes(4).map(formatIpAddress);
const ipv6 = fc
  .oneof(
    bytes(16),
    fc.array(fc.constantFrom(0, 0, 0, 1, 255), { minLength: 16, maxLength: 16 }).map((array) => Uint8Array.from(array)),
  )
  .map(formatIpAddress);
const address = fc.oneof(ipv4, ipv6);
const protocol = fc.constantFrom<Protocol>("any", "tcp", "udp", "sctp");
const state = fc.constantFrom<BackendState>("active", "terminating", "quarantined", "maintenance");
const algorithm = fc.constantFrom<LbAlgorithm>(
  "node-default",
  "random",
  "maglev",
  "custom",
  "algorithm 3",
  "algorithm 255",
);

const master: fc.Arbitrary<ServiceMaster> = fc
  .record({
    count: u16,
    qcount: u16,
    revNat: u16,
    flags: u16,
    algorithm,
    affinityTimeoutS: fc.integer({ min: 0, max: 0xff_ffff }),
    l7ProxyPort: u16,
  })
  .map((value) =>
    isL7Proxy(value.flags)
      ? { ...value, algorithm: "node-default", affinityTimeoutS: 0 }
      : { ...value, l7ProxyPort: undefined },
  );

const ipcacheV2: fc.Arbitrary<IpcacheValue> = fc.record({
  identity: u32,
  tunnelEndpoint: fc.option(
    address.filter((text) => text !== "0.0.0.0" && text !== "::"),
    { nil: undefined },
  ),
  encryptKey: u8,
  skipTunnel: fc.boolean(),
  hasTunnel: fc.boolean(),
  remoteCluster: fc.boolean(),
});

/** What is encoded decodes to the same value. */
function roundTrips<T>(
  values: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  decode: (bytes: Uint8Array) => T,
): void {
  fc.assert(
    fc.property(values, (value) => {
      expect(decode(encode(value))).toEqual(value);
    }),
  );
}

/**
 * Bytes that decode are encoded to the same bytes again, once what the value does not hold (padding, unknown flags) is
 * dropped by `canonical`.
 */
function keepsBytes(
  inputs: fc.Arbitrary<Uint8Array>,
  recode: (bytes: Uint8Array) => Uint8Array,
  canonical: (bytes: Uint8Array) => Uint8Array = (input) => input,
): void {
  fc.assert(
    fc.property(inputs, (input) => {
      expect(recode(input)).toEqual(canonical(input));
    }),
  );
}

function withBytes(input: Uint8Array, changes: Readonly<Record<number, number>>): Uint8Array {
  const copy = Uint8Array.from(input);
  for (const [offset, byte] of Object.entries(changes)) copy[Number(offset)] = byte;
  return copy;
}

describe("encode, then decode", () => {
  it("service keys", () => {
    const scope = fc.constantFrom("external" as const, "internal" as const);
    roundTrips(fc.record({ address, port: u16, slot: u16, protocol, scope }), encodeServiceKey, decodeServiceKey);
  });

  it("masters and slots, whose rev_nat can be had alone", () => {
    roundTrips(master, encodeServiceMaster, decodeServiceMaster);
    const slot = fc.record({ backendId: id, revNat: u16, flags: u16 });
    roundTrips(slot, encodeServiceSlot, decodeServiceSlot);
    fc.assert(
      fc.property(slot, (value) => {
        expect(revNatOf(encodeServiceSlot(value))).toBe(value.revNat);
      }),
    );
  });

  it("backends of v3 and v2, and their keys", () => {
    const common = { address, port: u16, protocol, state };
    const v3: fc.Arbitrary<Backend> = fc.record({ ...common, clusterId: u16, zone: u8 });
    const v2: fc.Arbitrary<Backend> = fc.record({ ...common, clusterId: fc.constant(0), zone: fc.constant(0) });
    roundTrips(v3, (value) => encodeBackend(value, 3), decodeBackend);
    roundTrips(v2, (value) => encodeBackend(value, 2), decodeBackend);
    roundTrips(id, encodeBackendKey, decodeBackendKey);
  });

  it("reverse NAT entries", () => {
    roundTrips(u16, encodeReverseNatKey, decodeReverseNatKey);
    roundTrips(fc.record({ address, port: u16 }), encodeReverseNat, decodeReverseNat);
  });

  it("ipcache keys of whole addresses", () => {
    fc.assert(
      fc.property(address, (text) => {
        const prefixLength = text.includes(":") ? 128 : 32;
        expect(decodeIpcacheKey(encodeIpcacheKey(text))).toEqual({ address: text, prefixLength, clusterId: 0 });
      }),
    );
  });

  it("ipcache keys of prefixes, which are the same for every address in them", () => {
    fc.assert(
      fc.property(address, fc.nat(128), (text, length) => {
        const prefixLength = text.includes(":") ? length : length % 33;
        const key = encodeIpcacheKey(text, prefixLength);
        const decoded = decodeIpcacheKey(key);
        expect(decoded.prefixLength).toBe(prefixLength);
        expect(encodeIpcacheKey(decoded.address, prefixLength)).toEqual(key);
      }),
    );
  });

  it("ipcache values of v2 and v1, whose identity can be had alone", () => {
    roundTrips(ipcacheV2, (value) => encodeIpcacheValue(value, 2), decodeIpcacheValue);
    const v1 = fc.record({
      identity: u32,
      tunnelEndpoint: fc.option(
        ipv4.filter((text) => text !== "0.0.0.0"),
        { nil: undefined },
      ),
      encryptKey: fc.constant(undefined),
      skipTunnel: fc.boolean(),
      hasTunnel: fc.constant(undefined),
      remoteCluster: fc.constant(undefined),
    });
    roundTrips(v1, (value) => encodeIpcacheValue(value, 1), decodeIpcacheValue);
    fc.assert(
      fc.property(ipcacheV2, (value) => {
        expect(identityOfIpcacheValue(encodeIpcacheValue(value, 2))).toBe(value.identity);
      }),
    );
  });
});

describe("decode, then encode", () => {
  const proto = fc.constantFrom(0, 6, 17, 132);
  const recodeKey = (input: Uint8Array): Uint8Array => encodeServiceKey(decodeServiceKey(input));

  it("service keys keep every byte", () => {
    const tail = fc.tuple(proto, fc.constantFrom(0, 1)).map(([p, scope]) => [p, scope, 0, 0]);
    const key = (length: number): fc.Arbitrary<Uint8Array> =>
      fc.tuple(bytes(length), tail).map(([head, rest]) => Uint8Array.from([...head, ...rest]));
    keepsBytes(fc.oneof(key(8), key(20)), recodeKey);
  });

  it("masters keep every byte, but for the unused half of an L7 proxy port", () => {
    keepsBytes(
      bytes(12),
      (input) => encodeServiceMaster(decodeServiceMaster(input)),
      (input) => (isL7Proxy((input[9] ?? 0) << 8) ? withBytes(input, { 2: 0, 3: 0 }) : input),
    );
  });

  it("slots keep every byte, but for the counts, which only masters have", () => {
    keepsBytes(
      bytes(12).map((input) => withBytes(input, { 0: (input[0] ?? 0) | 1 })),
      (input) => encodeServiceSlot(decodeServiceSlot(input)),
      (input) => withBytes(input, { 4: 0, 5: 0, 10: 0, 11: 0 }),
    );
  });

  it("backends keep every byte, but for the padding", () => {
    const at = (size: number, offset: number): fc.Arbitrary<Uint8Array> =>
      fc
        .tuple(bytes(size), proto, fc.nat(3))
        .map(([input, p, stateByte]) => withBytes(input, { [offset]: p, [offset + 1]: stateByte }));
    keepsBytes(
      fc.oneof(at(12, 6), at(24, 18)),
      (input) => encodeBackend(decodeBackend(input), 3),
      (input) => withBytes(input, { [input.length - 1]: 0 }),
    );
    keepsBytes(fc.oneof(at(8, 6), at(20, 18)), (input) => encodeBackend(decodeBackend(input), 2));
  });

  it("reverse NAT entries keep every byte", () => {
    keepsBytes(bytes(2), (input) => encodeReverseNatKey(decodeReverseNatKey(input)));
    keepsBytes(fc.oneof(bytes(6), bytes(18)), (input) => encodeReverseNat(decodeReverseNat(input)));
  });

  it("ipcache values keep identity, key and known flags", () => {
    keepsBytes(
      bytes(24).map((input) => withBytes(input, { 4: (input[4] ?? 0) | 1 })),
      (input) => encodeIpcacheValue(decodeIpcacheValue(input), 2),
      (input) => {
        const flags = input[23] ?? 0;
        const copy = withBytes(input, { 20: 0, 21: 0, 23: flags & 0x0f });
        return (flags & 0x04) === 0 ? copy.fill(0, 8, 20) : copy;
      },
    );
  });
});

describe("any bytes give a value or ERR_ONEHOP_MALFORMED", () => {
  const sizes = [2, 4, 6, 8, 12, 18, 20, 24];
  const likelyByte = fc.constantFrom(0, 1, 2, 6, 32);
  const likely = fc
    .oneof(...sizes.map((size) => fc.array(likelyByte, { minLength: size, maxLength: size })))
    .map((array) => Uint8Array.from(array));
  const nearlyIpcacheKey = fc
    .tuple(address, fc.nat(23), fc.oneof(likelyByte, u8))
    .map(([text, offset, byte]) => withBytes(encodeIpcacheKey(text), { [offset]: byte }));
  const inputs = fc.oneof(fc.uint8Array({ maxLength: 40 }), ...sizes.map(bytes), likely, nearlyIpcacheKey);
  const decoders: readonly [string, (input: Uint8Array) => unknown][] = [
    ["decodeServiceKey", decodeServiceKey],
    ["decodeServiceMaster", decodeServiceMaster],
    ["decodeServiceSlot", decodeServiceSlot],
    ["revNatOf", revNatOf],
    ["decodeBackendKey", decodeBackendKey],
    ["decodeBackend", decodeBackend],
    ["decodeReverseNatKey", decodeReverseNatKey],
    ["decodeReverseNat", decodeReverseNat],
    ["decodeIpcacheKey", decodeIpcacheKey],
    ["decodeIpcacheValue", decodeIpcacheValue],
    ["identityOfIpcacheValue", identityOfIpcacheValue],
  ];

  it.each(decoders)("%s", (_name, decode) => {
    const seen = { values: 0, errors: 0 };
    fc.assert(
      fc.property(inputs, (input) => {
        const before = Uint8Array.from(input);
        try {
          expect(decode(input)).toBeDefined();
          seen.values += 1;
        } catch (error) {
          if (!isOnehopError(error)) throw error;
          expect(error.code).toBe("ERR_ONEHOP_MALFORMED");
          expect(error.message).toMatch(/^cilium_\S+ (key|value): \w+ is .+, expected .+$/);
          seen.errors += 1;
        }
        expect(input).toEqual(before);
      }),
      { numRuns: 2000 },
    );
    expect(seen.values).toBeGreaterThan(0);
    expect(seen.errors).toBeGreaterThan(0);
  });
});
