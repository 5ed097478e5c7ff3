// @ts-check
/** A job: one call, and the process ends by itself. Run it after a build: node examples/job/main.js */
import { createMesh } from "onehop";
import { staticDiscovery } from "onehop/discovery";
import { startPod } from "./pod-process.js";

const endpoint = await startPod();

const mesh = createMesh({ discovery: staticDiscovery({ services: { "reports.energy": [endpoint] } }) });
const response = await mesh.fetch("http://reports.energy/v1/close-of-day", { method: "POST", body: "2026-11-20" });
console.log(`${response.status} ${await response.text()}`);

// Nothing is closed here. The connection is still open, and so is the mesh; neither keeps a process alive.
const answeredAt = performance.now();
const [service] = await mesh.service("reports.energy").endpoints();
console.log(`open connections: ${service?.connections}`);
process.once("exit", () => {
  console.log(`ended by itself ${Math.round(performance.now() - answeredAt)} ms after the answer, without a close`);
});
