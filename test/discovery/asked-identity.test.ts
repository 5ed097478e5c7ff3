import { describe, expect, it } from "vitest";
import { bpfDiscovery } from "../../src/discovery/bpf-discovery.js";
import type { DiscoveryUpdate } from "../../src/discovery/discovery.js";
import { createFakeKernel } from "../../src/kernel/fake-kernel.js";
import { parseServiceHost } from "../../src/model/service-ref.js";
import { createCiliumAgent } from "../../src/testing/cilium-agent.js";
import { ManualClock } from "../support/manual-clock.js";

const directory = "/sys/fs/bpf/tc/globals";
const pod = "10.1.0.7";

describe("identities of endpoints that stay the same", () => {
  it("are read again soon when a failed attempt asks for a look, and once a second otherwise", async () => {
    const clock = new ManualClock();
    const kernel = createFakeKernel();
    const agent = createCiliumAgent({ maker: kernel, directory, families: [4] });
    agent.start();
    agent.setIdentity(pod, agent.identityIn(1, 500));
    agent.setService({ address: "10.96.7.7", port: 80 }, [{ address: pod, port: 8080 }]);
    const service = parseServiceHost("quotes.energy");
    if (service === undefined) throw new Error("no service");
    const told: DiscoveryUpdate[] = [];
    const identity = (): number | undefined => {
      const last = told.at(-1);
      return last?.kind === "view" ? last.endpoints[0]?.identity?.number : undefined;
    };
    const discovery = bpfDiscovery({ kernel, pinDirectory: directory, clock, pollMs: 250 });
    discovery.attach({ notify: () => undefined });
    const addresses = async () => ({ addresses: ["10.96.7.7"], ttlMs: 60_000 });
    const watch = discovery.watch({ service, port: 80, addresses }, (update) => told.push(update));
    await clock.advanceAsync(100);
    expect(identity()).toBe(agent.identityIn(1, 500));

    // The polls at 250 ms and 500 ms pass it by, a look that was asked for does not.
    agent.setIdentity(pod, agent.identityIn(1, 600));
    await clock.advanceAsync(500);
    expect(identity()).toBe(agent.identityIn(1, 500));
    watch.refresh();
    await clock.advanceAsync(50);
    expect(identity()).toBe(agent.identityIn(1, 600));

    agent.setIdentity(pod, agent.identityIn(1, 700));
    await clock.advanceAsync(1_300);
    expect(identity()).toBe(agent.identityIn(1, 700));
    await discovery.close();
  });
});
