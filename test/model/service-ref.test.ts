import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isExplicitServiceHost, normalHost, parseServiceHost } from "../../src/model/service-ref.js";

describe("parseServiceHost", () => {
  it.each([
    ["quotes", "quotes", undefined, "quotes"],
    ["quotes.energy", "quotes", "energy", "quotes.energy"],
    ["quotes.energy.svc", "quotes", "energy", "quotes.energy"],
    ["quotes.energy.svc.cluster.local", "quotes", "energy", "quotes.energy"],
    ["Quotes.Energy.SVC.Cluster.Local.", "quotes", "energy", "quotes.energy"],
  ])("%s", (host, name, namespace, id) => {
    expect(parseServiceHost(host)).toEqual({ id, name, namespace, domain: "cluster", host: normalHost(host) });
  });

  it("keeps clusterset services apart from those of the cluster", () => {
    expect(parseServiceHost("quotes.energy.svc.clusterset.local")).toEqual({
      id: "quotes.energy.svc.clusterset.local",
      name: "quotes",
      namespace: "energy",
      domain: "clusterset",
      host: "quotes.energy.svc.clusterset.local",
    });
  });

  it("takes the cluster's own domain in any spelling, and only that", () => {
    const host = "quotes.energy.svc.k8s.example.org";
    expect(parseServiceHost(host)).toBeUndefined();
    expect(parseServiceHost(host, "k8s.example.org")?.id).toBe("quotes.energy");
    expect(parseServiceHost(host, "K8s.Example.org.")?.id).toBe("quotes.energy");
    expect(parseServiceHost("quotes.energy.svc.cluster.local", "k8s.example.org")).toBeUndefined();
  });

  it.each([
    "",
    ".",
    "a..b",
    "www.example.org",
    "quotes.energy.pod.cluster.local",
    "_http._tcp.quotes.energy.svc.cluster.local",
    "-quotes.energy",
    "quotes-.energy",
    "quo tes.energy",
    "quotes_1.energy",
    `${"a".repeat(64)}.energy`,
    "10.96.0.10",
    "[fd00::1]",
    "quotes.energy:80",
    "quotes.energy\n",
    "east.quotes.energy.svc.clusterset.local",
  ])("is undefined for %j", (host) => {
    expect(parseServiceHost(host)).toBeUndefined();
  });

  it("returns the same service for all the names of one", () => {
    const label = fc.stringMatching(/^[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?$/);
    fc.assert(
      fc.property(label, label, (name, namespace) => {
        const short = `${name}.${namespace}`;
        for (const host of [short, `${short}.svc`, `${short}.svc.cluster.local`, `${short}.svc.cluster.local.`]) {
          expect(parseServiceHost(host)).toMatchObject({ id: short, name, namespace, domain: "cluster" });
        }
      }),
    );
  });

  it("gives undefined or a service for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const service = parseServiceHost(text);
        expect(service === undefined || service.host === normalHost(text)).toBe(true);
      }),
    );
  });
});

describe("isExplicitServiceHost", () => {
  it("is true for names that no public domain can have", () => {
    expect(isExplicitServiceHost("quotes.energy.svc")).toBe(true);
    expect(isExplicitServiceHost("quotes.energy.svc.cluster.local.")).toBe(true);
    expect(isExplicitServiceHost("quotes.energy.svc.clusterset.local")).toBe(true);
    expect(isExplicitServiceHost("quotes.energy.svc.k8s.example.org", "k8s.example.org")).toBe(true);
  });

  it("is false for names that may mean something else", () => {
    for (const host of ["quotes", "quotes.energy", "www.example.org", "quotes.energy.svc.example.org", "svc"]) {
      expect(isExplicitServiceHost(host)).toBe(false);
    }
  });
});
