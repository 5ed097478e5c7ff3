import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseHostsFile } from "../../src/dns/hosts-file.js";
import { ipFamily } from "../../src/model/ip-address.js";

const HOSTS = `# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost
fd00:0:0::7  quotes.energy
10.1.2.3  Quotes.Energy quotes # the shop
10.1.2.4 quotes.energy
fe80::1%lo0 scoped
not-an-address name
10.1.2.5
  10.1.2.6 indented\r
`;

describe("parseHostsFile", () => {
  const hosts = parseHostsFile(HOSTS);

  const cases: readonly [name: string, addresses: readonly string[]][] = [
    ["localhost", ["127.0.0.1", "::1"]],
    ["ip6-localhost", ["::1"]],
    ["QUOTES.energy", ["10.1.2.3", "10.1.2.4", "fd00::7"]],
    ["quotes.energy.", ["10.1.2.3", "10.1.2.4", "fd00::7"]],
    ["quotes", ["10.1.2.3"]],
    ["indented", ["10.1.2.6"]],
    ["shop", []],
    ["scoped", []],
    ["name", []],
    ["constructor", []],
    ["", []],
  ];
  it.each(cases)("looks up %j", (name, addresses) => {
    expect(hosts.lookup(name)).toEqual(addresses);
  });

  it("never throws and gives addresses only, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.ipV4(), fc.ipV6(), (noise, ipv4, ipv6) => {
        const addresses = parseHostsFile(`${noise}\n${ipv6} some.name\n${ipv4} some.name\n${noise}`).lookup(
          "some.name",
        );
        expect(addresses.length).toBeGreaterThanOrEqual(2);
        const families = addresses.map(ipFamily);
        expect(families).not.toContain(undefined);
        expect(families).toEqual([...families].sort());
      }),
    );
  });
});
