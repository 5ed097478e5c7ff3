import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isDnsName } from "../../src/dns/dns-name.js";
import { candidateNames } from "../../src/dns/search-list.js";

const POD = { search: ["energy.svc.cluster.local", "svc.cluster.local", "cluster.local"], ndots: 5 };

describe("candidateNames", () => {
  it("completes a short name first, and tries it as it is last", () => {
    expect(candidateNames("Quotes.energy", POD)).toEqual([
      "quotes.energy.energy.svc.cluster.local",
      "quotes.energy.svc.cluster.local",
      "quotes.energy.cluster.local",
      "quotes.energy",
    ]);
  });

  it("tries a name with ndots dots as it is first", () => {
    expect(candidateNames("a.b.c.d.e.f", POD)[0]).toBe("a.b.c.d.e.f");
    expect(candidateNames("a.b.c.d.e.f", POD)).toHaveLength(4);
    expect(candidateNames("quotes.energy", { ...POD, ndots: 1 })[0]).toBe("quotes.energy");
  });

  it("takes a name with a trailing dot as it is", () => {
    expect(candidateNames("quotes.energy.", POD)).toEqual(["quotes.energy"]);
  });

  it("tries a single label as it is last, whatever ndots", () => {
    expect(candidateNames("quotes", { search: ["a.b"], ndots: 1 })).toEqual(["quotes.a.b", "quotes"]);
    expect(candidateNames("quotes", { search: ["a.b"], ndots: 0 })).toEqual(["quotes", "quotes.a.b"]);
  });

  it("takes the root as a search domain", () => {
    expect(candidateNames("quotes", { search: ["", "a.b"], ndots: 1 })).toEqual(["quotes", "quotes.a.b"]);
  });

  it("leaves out names that are too long, and all for a host that is no name", () => {
    const long = `${"a".repeat(60)}.`.repeat(4).slice(0, -1);
    expect(candidateNames(long, POD)).toEqual([long]);
    for (const host of ["", ".", "a..b", "-a", "a b", "a/b", "ü.de", "a".repeat(64), `${long}.${long}`]) {
      expect(candidateNames(host, POD), host).toEqual([]);
    }
  });

  it("gives well-formed names only, each once, whatever the host", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.domain(), fc.string()),
        fc.array(fc.domain(), { maxLength: 5 }),
        fc.nat(15),
        (host, search, ndots) => {
          const names = candidateNames(host, { search, ndots });
          expect(names.every(isDnsName)).toBe(true);
          expect(new Set(names).size).toBe(names.length);
        },
      ),
    );
  });
});
