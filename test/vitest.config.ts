import { defineConfig } from "vitest/config";

// The suites, each a folder: `unit` mirrors src/ and needs no privilege, `property` is fast-check,
// `integration` uses real sockets and processes, `kernel` needs root, bpf(2) and a mountable bpffs.
const unitFolders = [
  "model",
  "cilium",
  "policy",
  "kernel-edge",
  "dns",
  "discovery",
  "balance",
  "call",
  "http",
  "mesh",
  "testing",
  "lint",
];

export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 30_000,
    projects: [
      { extends: true, test: { name: "unit", include: unitFolders.map((folder) => `test/${folder}/**/*.test.ts`) } },
      { extends: true, test: { name: "property", include: ["test/property/**/*.test.ts"] } },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          testTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        extends: true,
        test: { name: "kernel", include: ["test/kernel/**/*.test.ts"], testTimeout: 120_000, fileParallelism: false },
      },
    ],
  },
});
