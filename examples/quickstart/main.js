// @ts-check
/** Calls a service by its name. Run it after a build: node examples/quickstart/main.js */
import { createMesh } from "onehop";
import { staticDiscovery } from "onehop/discovery";
import { startPod } from "./pod.js";

// Two pods of the service quotes in the namespace energy, one of them in another cluster.
const near = await startPod("quotes-1a");
const far = await startPod("quotes-2a");
const discovery = staticDiscovery({
  localCluster: "eu-west-1",
  services: {
    "quotes.energy": [
      { ...near.endpoint, cluster: "eu-west-1" },
      { ...far.endpoint, cluster: "eu-central-1" },
    ],
  },
});

// In a pod on a node with Cilium this is `createMesh()`: the pods of all clusters come from the node's eBPF maps, as
// `discovery: bpfDiscovery()` from "onehop/discovery" says when it is to have options.
const mesh = createMesh({ discovery });
const response = await mesh.fetch("http://quotes.energy/v1/quotes");
console.log(await response.json());

// The pod of the own cluster is gone, and its endpoint is still listed: the call goes on in the other cluster.
near.stop();
const again = await mesh.fetch("http://quotes.energy/v1/quotes");
console.log(await again.json());

far.stop();
