import { describe, expect, it } from "vitest";
import type { Endpoint } from "../../src/model/endpoint.js";
import { checkIdentity, type IdentityExpectation, judgeIdentities } from "../../src/policy/identity-expectation.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const EXPECTED = 0x0001_1234;
const OTHER = 0x0001_9999;
const CIDR = 0x0100_0007;
const REMOTE_NODE = 0x0200_0007;
const WORLD = 2;

const quotes = { number: EXPECTED, labels: ["k8s:app=quotes", "k8s:io.kubernetes.pod.namespace=energy"] };

describe("checkIdentity", () => {
  it.each<[string, IdentityExpectation, Endpoint["identity"], "match" | "mismatch" | "unknown"]>([
    ["nothing is expected", {}, undefined, "match"],
    ["nothing is expected of a known one", { numbers: [], labels: [] }, quotes, "match"],
    ["no identity", { numbers: [EXPECTED] }, undefined, "unknown"],
    ["the number", { numbers: [1234, EXPECTED] }, quotes, "match"],
    ["another number", { numbers: [EXPECTED] }, { number: OTHER, labels: undefined }, "mismatch"],
    ["a well-known one", { numbers: [EXPECTED] }, { number: 102, labels: undefined }, "mismatch"],
    ["a user-reserved one", { numbers: [EXPECTED] }, { number: 200, labels: undefined }, "mismatch"],
    ["all labels", { labels: ["k8s:app=quotes", "k8s:io.kubernetes.pod.namespace=energy"] }, quotes, "match"],
    ["one label missing", { labels: ["k8s:app=quotes", "k8s:tier=front"] }, quotes, "mismatch"],
    ["another value", { labels: ["k8s:app=quote"] }, quotes, "mismatch"],
    ["another source", { labels: ["container:app=quotes"] }, quotes, "mismatch"],
    ["no source", { labels: ["app=quotes"] }, quotes, "match"],
    ["any source", { labels: ["any:app=quotes"] }, quotes, "match"],
    ["no source and another value", { labels: ["app=shop"] }, quotes, "mismatch"],
    ["a value with a colon", { labels: ["app=a:b"] }, { number: OTHER, labels: ["k8s:app=a:b"] }, "match"],
    ["a value's end is no label", { labels: ["b"] }, { number: OTHER, labels: ["k8s:app=a:b"] }, "mismatch"],
    ["labels that nobody knows", { labels: ["k8s:app=quotes"] }, { number: EXPECTED, labels: undefined }, "unknown"],
    ["an identity known to have none", { labels: ["k8s:app=quotes"] }, { number: EXPECTED, labels: [] }, "mismatch"],
    ["the number, whatever the labels", { numbers: [EXPECTED], labels: ["k8s:app=shop"] }, quotes, "match"],
    ["the labels, whatever the number", { numbers: [OTHER], labels: ["k8s:app=quotes"] }, quotes, "match"],
    ["neither", { numbers: [OTHER], labels: ["k8s:app=shop"] }, quotes, "mismatch"],
    ["host, when asked for", { numbers: [1] }, { number: 1, labels: undefined }, "match"],
  ])("%s", (_, expectation, identity, expected) => {
    expect(checkIdentity(expectation, identity)).toBe(expected);
  });

  it.each([0, 1, WORLD, 6, 9, 10, CIDR, REMOTE_NODE])(
    "T-43: takes the covering prefix %i for unknown, not for a mismatch",
    (number) => {
      expect(checkIdentity({ numbers: [EXPECTED] }, { number, labels: undefined })).toBe("unknown");
      expect(checkIdentity({ labels: ["k8s:app=quotes"] }, { number, labels: ["reserved:world"] })).toBe("unknown");
    },
  );
});

describe("judgeIdentities", () => {
  const expectation: IdentityExpectation = { numbers: [EXPECTED] };
  let id = 0;
  const pods = (...numbers: (number | undefined)[]): Endpoint[] =>
    numbers.map((number) => makeEndpoint(++id, {}, number === undefined ? undefined : { number, labels: undefined }));

  it("T-43: refuses the one pod that took over an address", () => {
    const [a, b, c] = pods(EXPECTED, OTHER, EXPECTED) as [Endpoint, Endpoint, Endpoint];
    expect(judgeIdentities(expectation, [a, b, c])).toEqual({
      allowed: [a, c],
      refused: [b],
      mismatched: [b],
      obeyed: true,
    });
  });

  it("T-43: refuses the only pod when it mismatches: one is no majority", () => {
    const only = pods(OTHER);
    expect(judgeIdentities(expectation, only)).toEqual({ allowed: [], refused: only, mismatched: only, obeyed: true });
    const [mismatch, unknown] = pods(OTHER, undefined) as [Endpoint, Endpoint];
    expect(judgeIdentities(expectation, [mismatch, unknown])).toMatchObject({
      allowed: [unknown],
      refused: [mismatch],
    });
  });

  it("obeys where just half mismatch", () => {
    const four = pods(OTHER, OTHER, EXPECTED, EXPECTED);
    expect(judgeIdentities(expectation, four)).toMatchObject({ refused: four.slice(0, 2), obeyed: true });
  });

  it("reports and does not obey where more than half of the known ones mismatch", () => {
    const five = pods(OTHER, OTHER, EXPECTED, WORLD, undefined);
    expect(judgeIdentities(expectation, five)).toEqual({
      allowed: five,
      refused: [],
      mismatched: five.slice(0, 2),
      obeyed: false,
    });
  });

  it("obeys even then when strict", () => {
    const three = pods(OTHER, OTHER, EXPECTED);
    expect(judgeIdentities({ ...expectation, strict: true }, three)).toEqual({
      allowed: three.slice(2),
      refused: three.slice(0, 2),
      mismatched: three.slice(0, 2),
      obeyed: true,
    });
  });

  it("refuses unknown ones when told to, and reports only mismatches", () => {
    const three = pods(undefined, WORLD, EXPECTED);
    expect(judgeIdentities(expectation, three).allowed).toEqual(three);
    expect(judgeIdentities({ ...expectation, unknown: "refuse" }, three)).toEqual({
      allowed: three.slice(2),
      refused: three.slice(0, 2),
      mismatched: [],
      obeyed: true,
    });
  });

  it("has nothing to say of no endpoints", () => {
    expect(judgeIdentities(expectation, [])).toEqual({ allowed: [], refused: [], mismatched: [], obeyed: true });
  });
});
