import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseResolvConf, type ResolvConf } from "../../src/dns/resolv-conf.js";

const DEFAULTS: ResolvConf = {
  nameservers: ["127.0.0.1"],
  search: [],
  ndots: 1,
  timeoutMs: 5_000,
  attempts: 2,
  ignored: [],
};

describe("parseResolvConf", () => {
  it("reads the file that the kubelet writes", () => {
    const text =
      "search energy.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
    expect(parseResolvConf(text)).toEqual({
      ...DEFAULTS,
      nameservers: ["10.96.0.10"],
      search: ["energy.svc.cluster.local", "svc.cluster.local", "cluster.local"],
      ndots: 5,
    });
  });

  const cases: readonly [title: string, text: string, expected: Partial<ResolvConf>][] = [
    ["an empty file means the local server", "", {}],
    ["the last of search and domain wins", "search a.b c.d\ndomain e.f\n", { search: ["e.f"] }],
    ["a later search replaces an earlier domain", "domain e.f\nsearch A.b. c.d\n", { search: ["a.b", "c.d"] }],
    ["an empty search empties the list", "search a.b\nsearch\n", { search: [] }],
    ["the root as search domain", "search . a.b\n", { search: ["", "a.b"] }],
    [
      "comments at the start of a line and of a word",
      "# x\n; y\nnameserver 1.1.1.1 # z\n",
      { nameservers: ["1.1.1.1"] },
    ],
    ["CRLF line ends", "nameserver 1.1.1.1\r\noptions ndots:2\r\n", { nameservers: ["1.1.1.1"], ndots: 2 }],
    ["tabs and several blanks", "nameserver\t 1.1.1.1  \n", { nameservers: ["1.1.1.1"] }],
    ["IPv6, canonical, with a zone", "nameserver FE80:0::1%eth0\n", { nameservers: ["fe80::1%eth0"] }],
    [
      "values above the caps",
      "options ndots:99 timeout:99 attempts:99\n",
      { ndots: 15, timeoutMs: 30_000, attempts: 5 },
    ],
    ["values below the least", "options ndots:0 timeout:0 attempts:0\n", { ndots: 0, timeoutMs: 1_000, attempts: 1 }],
    ["options of several lines add up", "options ndots:3\noptions timeout:2\n", { ndots: 3, timeoutMs: 2_000 }],
  ];
  it.each(cases)("%s", (_title, text, expected) => {
    expect(parseResolvConf(text)).toEqual({ ...DEFAULTS, ...expected });
  });

  const ignoredCases: readonly [text: string, ignored: readonly string[]][] = [
    ["nameserver 1.2.3", ['line 1: "nameserver 1.2.3": no IP address']],
    ["nameserver", ['line 1: "nameserver ": no IP address']],
    [" nameserver 1.1.1.1", ['line 1: " nameserver 1.1.1.1": the keyword must start the line']],
    ["sortlist 1.1.1.0/24", ['line 1: "sortlist 1.1.1.0/24": sortlist has no effect here']],
    ["nameserverx 1.1.1.1", ['line 1: "nameserverx 1.1.1.1": nameserverx has no effect here']],
    ["options rotate", ['line 1: "options rotate": this option has no effect here']],
    ["options ndots:-1", ['line 1: "options ndots:-1": this option has no effect here']],
    ["options constructor:1", ['line 1: "options constructor:1": this option has no effect here']],
    ["search a..b", ['line 1: "a..b": no domain name']],
    ["domain a.b c.d", ['line 1: "c.d": only the first 1 count']],
  ];
  it.each(ignoredCases)("tells that it ignored %j", (text, ignored) => {
    expect(parseResolvConf(text).ignored).toEqual(ignored);
  });

  it("keeps the first three nameservers", () => {
    const conf = parseResolvConf("nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n");
    expect(conf.nameservers).toEqual(["1.1.1.1", "1.1.1.2", "1.1.1.3"]);
    expect(conf.ignored).toEqual(['line 4: "nameserver 1.1.1.4": only the first 3 count']);
  });

  it("never throws and keeps its bounds, whatever the text", () => {
    const word = fc.constantFrom(
      "nameserver",
      "search",
      "domain",
      "options",
      "ndots:7",
      "timeout:",
      "1.1.1.1",
      "::1",
      "#",
      "a.b",
      " ",
      "\n",
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.array(word).map((words) => words.join(" ")),
        ),
        (text) => {
          const conf = parseResolvConf(text);
          expect(conf.nameservers.length).toBeGreaterThan(0);
          expect(conf.nameservers.length).toBeLessThanOrEqual(3);
          expect(conf.search.length).toBeLessThanOrEqual(32);
          expect(conf.ndots).toBeLessThanOrEqual(15);
          expect(conf.timeoutMs).toBeGreaterThanOrEqual(1_000);
          expect(conf.attempts).toBeGreaterThanOrEqual(1);
          expect(conf.ignored.length).toBeLessThanOrEqual(100);
        },
      ),
    );
  });
});
