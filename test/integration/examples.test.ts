import { beforeAll, describe, expect, it } from "vitest";
import { ensureBuild } from "../support/build.js";
import { runExample } from "../support/example-run.js";

describe("examples", () => {
  beforeAll(ensureBuild);

  it("quickstart: the own cluster answers, and the other one when its pod is gone", async () => {
    const { exitCode, stdout, stderr } = await runExample("quickstart/main.js", { env: { NO_COLOR: "1" } });
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    const answers = stdout.trim().split("\n");
    expect(answers).toHaveLength(2);
    expect(answers[0]).toContain("pod: 'quotes-1a', asked: 'quotes.energy/v1/quotes'");
    expect(answers[1]).toContain("pod: 'quotes-2a', asked: 'quotes.energy/v1/quotes'");
  });

  it("job: ends by itself with its connection open and nothing closed", async () => {
    const { exitCode, stdout, stderr } = await runExample("job/main.js");
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    const [answer, connections, end] = stdout.trim().split("\n");
    expect(answer).toBe("200 booked");
    expect(connections).toBe("open connections: 1");
    const endedAfterMs = Number(/^ended by itself (\d+) ms after the answer, without a close$/.exec(end ?? "")?.[1]);
    // Far below any idle timeout of a connection; what it takes is Node's own way out.
    expect(endedAfterMs).toBeLessThan(2_000);
  });
});
