import { describe, expect, it } from "vitest";
import { EndpointLoad } from "../../src/balance/endpoint-load.js";
import { Picker } from "../../src/balance/picker.js";
import { makeEndpoint } from "../support/policy-endpoint.js";

const loads = (...ids: readonly number[]): EndpointLoad[] => ids.map((id) => new EndpointLoad(makeEndpoint(id)));

describe("a pick that leaves a cluster", () => {
  it("asks a cluster that was not tried before it goes back to one that was", () => {
    const [own, second, third] = [loads(1, 2, 3), loads(4, 5, 6), loads(7, 8, 9)];
    const picker = new Picker([own, second, third], []);
    const tried = [own[0], second[0]].filter((load) => load !== undefined);
    for (const random of [() => 0, () => 0.5, () => 0.999]) {
      const picked = picker.pick({ tried, leaveTierOf: second[0], stayInTierOf: undefined }, 0, random);
      expect(third).toContain(picked);
    }
  });

  it("goes back to the nearest tried one, not to the one it leaves, when there is no other", () => {
    const [own, second] = [loads(1, 2), loads(3, 4)];
    const picker = new Picker([own, second], []);
    const tried = [own[0], second[0]].filter((load) => load !== undefined);
    expect(picker.pick({ tried, leaveTierOf: second[0], stayInTierOf: undefined }, 0, () => 0)).toBe(own[1]);
  });
});
