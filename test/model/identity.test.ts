import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clusterOfIdentity,
  FIRST_CLUSTER_IDENTITY,
  IDENTITY_HOST,
  identityInCluster,
  identityKind,
  identityScope,
  reservedIdentityName,
} from "../../src/model/identity.js";

describe("kinds and scopes of identities", () => {
  it.each([
    [0, "unknown", "global"],
    [1, "reserved", "global"],
    [99, "reserved", "global"],
    [100, "well-known", "global"],
    [127, "well-known", "global"],
    [128, "user-reserved", "global"],
    [255, "user-reserved", "global"],
    [256, "cluster", "global"],
    [0x00ff_ffff, "cluster", "global"],
    [0x0100_0001, "cidr", "node-local"],
    [0x01ff_ffff, "cidr", "node-local"],
    [0x0200_0001, "node", "remote-node"],
    [0xff00_0000, "cidr", "node-local"],
  ] as const)("%d is %s, %s", (number, kind, scope) => {
    expect(identityKind(number)).toBe(kind);
    expect(identityScope(number)).toBe(scope);
  });

  it("name the reserved ones", () => {
    expect(reservedIdentityName(IDENTITY_HOST)).toBe("host");
    expect(reservedIdentityName(2)).toBe("world");
    expect(reservedIdentityName(10)).toBe("world-ipv6");
    expect(reservedIdentityName(FIRST_CLUSTER_IDENTITY)).toBeUndefined();
  });
});

describe("clusterOfIdentity", () => {
  it("reads the bits above 16, or above 15 with 511 clusters", () => {
    expect(clusterOfIdentity(132_306, 255)).toBe(2);
    expect(clusterOfIdentity(132_306, 511)).toBe(4);
    expect(clusterOfIdentity(0xff_ffff, 255)).toBe(255);
    expect(clusterOfIdentity(0xff_ffff, 511)).toBe(511);
  });

  it("is 0 in a cluster that is in no mesh", () => {
    expect(clusterOfIdentity(256, 255)).toBe(0);
    expect(clusterOfIdentity(65_535, 255)).toBe(0);
  });

  it("is undefined where a number carries no cluster", () => {
    for (const number of [0, 6, 104, 255, 0x0102_0304, 0x0202_0304]) {
      expect(clusterOfIdentity(number, 255)).toBeUndefined();
      expect(clusterOfIdentity(number, 511)).toBeUndefined();
    }
  });

  it("is the inverse of identityInCluster", () => {
    const max = fc.constantFrom(255 as const, 511 as const);
    fc.assert(
      fc.property(max, fc.nat(511), fc.integer({ min: 256, max: 0x7fff }), (maxConnectedClusters, number, low) => {
        const cluster = number & maxConnectedClusters;
        const identity = identityInCluster(cluster, low, maxConnectedClusters);
        expect(identityKind(identity)).toBe("cluster");
        expect(clusterOfIdentity(identity, maxConnectedClusters)).toBe(cluster);
      }),
    );
  });
});
