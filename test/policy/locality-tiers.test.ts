import { describe, expect, it } from "vitest";
import { DEFAULT_LOCALITY_ORDER, type LocalityOrder, localityTiers } from "../../src/policy/locality-tiers.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const LOCAL = { number: 1, name: "blue" };

/** Named `<cluster>/<n>` by its address. */
const blue1 = makeEndpoint(1, { cluster: "blue", clusterNumber: 1 });
const blue2 = makeEndpoint(2, { cluster: undefined, clusterNumber: 1 });
const green = makeEndpoint(3, { cluster: "green", clusterNumber: 2 });
const red = makeEndpoint(4, { cluster: "red", clusterNumber: 3 });
const third = makeEndpoint(5, { cluster: undefined, clusterNumber: 4 });
const lost = makeEndpoint(6, { cluster: undefined, clusterNumber: undefined });
const all = [lost, red, blue1, green, blue2, third];

function tiers(order: LocalityOrder, local: Parameters<typeof localityTiers>[2] = LOCAL): number[][] {
  return localityTiers(all, order, local).map((tier) => tier.map((endpoint) => endpoint.backendId));
}

describe("localityTiers", () => {
  it.each<[string, LocalityOrder, number[][]]>([
    [
      "the default: own cluster, then the others",
      DEFAULT_LOCALITY_ORDER,
      [
        [1, 2],
        [6, 4, 3, 5],
      ],
    ],
    ["any", "any", [[6, 4, 1, 3, 2, 5]]],
    ["an empty list", [], [[6, 4, 1, 3, 2, 5]]],
    ["named clusters, the rest last", ["local", "green"], [[1, 2], [3], [6, 4, 5]]],
    ["a name for the own cluster", ["blue", "*"], [[1], [6, 4, 3, 2, 5]]],
    ["numbers", ["#4", "#2", "local", "*"], [[5], [3], [1, 2], [6, 4]]],
    [
      "the others first",
      ["*", "local"],
      [
        [4, 3, 5],
        [6, 1, 2],
      ],
    ],
    [
      "a star in the middle",
      ["local", "*", "red"],
      [
        [1, 2],
        [3, 5],
        [6, 4],
      ],
    ],
    ["the first of two entries that mean one cluster", ["blue", "local", "*"], [[1], [2], [6, 4, 3, 5]]],
    [
      "names of clusters without endpoints",
      ["gone", "local", "*"],
      [
        [1, 2],
        [6, 4, 3, 5],
      ],
    ],
  ])("orders by %s", (_, order, expected) => {
    expect(tiers(order)).toEqual(expected);
  });

  it("is one tier where the order speaks of the own cluster and that is not known", () => {
    const everything = [[6, 4, 1, 3, 2, 5]];
    expect(localityTiers(all, DEFAULT_LOCALITY_ORDER, undefined)).toEqual([all]);
    expect(tiers(DEFAULT_LOCALITY_ORDER, { number: undefined, name: undefined })).toEqual(everything);
    expect(tiers(["green", "local"], { number: undefined, name: undefined })).toEqual(everything);
  });

  it("keeps to named clusters even where the own one is not known", () => {
    expect(tiers(["green", "*"], { number: undefined, name: undefined })).toEqual([[3], [6, 4, 1, 2, 5]]);
  });

  it("knows the own cluster by number first, else by name", () => {
    expect(tiers(["local", "*"], { number: undefined, name: "blue" })).toEqual([[1], [6, 4, 3, 2, 5]]);
    expect(tiers(["local", "*"], { number: 2, name: "blue" })).toEqual([[3], [6, 4, 1, 2, 5]]);
  });

  it("has no tier for no endpoints", () => {
    expect(localityTiers([], "any", LOCAL)).toEqual([]);
    expect(localityTiers([], ["local"], LOCAL)).toEqual([]);
  });

  it("is one tier where no endpoint's cluster is known", () => {
    expect(localityTiers([lost], DEFAULT_LOCALITY_ORDER, LOCAL)).toEqual([[lost]]);
  });
});
