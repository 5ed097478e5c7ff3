import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A pod: one HTTP/1.1 server on an address of its own. */
export interface PodPlan {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly cluster?: string;
  /** Tells pods apart that had the same address one after the other. */
  readonly generation?: number;
}

/** What a pod does with requests. Without anything: 200 with a JSON {@link PodReply}. */
export interface PodManner {
  /** Never answers. */
  readonly hang?: boolean;
  readonly status?: number;
  /** Before the answer, in milliseconds. */
  readonly delayMs?: number;
}

/** The body of every answer; `x-pod`, `x-cluster` and `x-generation` say the same in headers. */
export interface PodReply {
  readonly pod: string;
  readonly cluster?: string;
  readonly generation?: number;
  /** The request's `Host`. */
  readonly host: string;
  readonly path: string;
}

/** A process whose pods come and go. It ends with the process that started it. */
export interface PodProcess {
  readonly pid: number;
  /** Starts a pod; it accepts connections when this resolves. */
  add(...pods: readonly PodPlan[]): Promise<void>;
  /** Closes listener and connections: from then on connections are refused. */
  remove(...names: readonly string[]): Promise<void>;
  behave(name: string, behaviour: PodManner): Promise<void>;
  /** Requests seen so far, by pod. */
  counts(): Promise<Readonly<Record<string, number>>>;
  /** Connections open now, by pod. */
  connections(): Promise<Readonly<Record<string, number>>>;
  /** Ends the process. Idempotent. */
  stop(): Promise<void>;
}

const SCRIPT = fileURLToPath(new URL("./pod-process.mjs", import.meta.url));

/** Starts a process without pods. */
export async function startPodProcess(): Promise<PodProcess> {
  const child = fork(SCRIPT, { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => child.once("spawn", resolve).once("error", reject));
  const send = requestsTo(child);
  return {
    pid: child.pid ?? 0,
    add: async (...pods) => void (await Promise.all(pods.map((spec) => send("add", { spec })))),
    remove: async (...names) => void (await Promise.all(names.map((name) => send("remove", { name })))),
    behave: async (name, behaviour) => void (await send("behave", { name, behaviour })),
    counts: async () => (await send("counts", {})) as Record<string, number>,
    connections: async () => (await send("connections", {})) as Record<string, number>,
    async stop() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** Sends numbered requests over IPC to a child that answers each once; all fail when it ends. */
function requestsTo(child: ChildProcess): (command: string, input: object) => Promise<unknown> {
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  let lastId = 0;
  child.on("message", ({ id, result, error }: Reply) => {
    if (error === undefined) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  });
  child.once("exit", (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`the child process ended (${code ?? signal})`));
    waiting.clear();
  });
  return (command, input) =>
    new Promise((resolve, reject) => {
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      child.send({ id: lastId, command, ...input });
    });
}
