import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** What a pod does with a request. Without anything: 200 with a JSON {@link PodAnswer}. */
export interface PodBehaviour {
  /**
   * - `hang`: reads the request and never answers
   * - `destroy`: reads the whole request, then destroys the socket
   * - `destroy-half`: resets the connection after half of the body
   * - `half`: answers (503 by default) after half of the body and reads no more
   * - `cut`: 200 with half of the announced body, then a reset
   * - `dribble`: response headers a few bytes at a time, never complete
   * - `stream`: a chunked body of `bodyBytes`
   */
  readonly kind?: "hang" | "destroy" | "destroy-half" | "half" | "cut" | "dribble" | "stream";
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Before the answer, or between the pieces of a dribble. */
  readonly delayMs?: number;
  readonly bodyBytes?: number;
  readonly chunkBytes?: number;
  /** After each chunk of a stream. */
  readonly pauseMs?: number;
  readonly gzip?: boolean;
  /** The answer carries the whole request body. */
  readonly echo?: boolean;
  /** What counts as half of a body whose length is not announced. */
  readonly halfBytes?: number;
  /** The pod destroys a connection that has been idle for so long after its answer. */
  readonly idleCloseMs?: number;
}

/** The JSON body of a plain answer. */
export interface PodAnswer {
  readonly pod: string;
  /** Of the request body. */
  readonly sha256: string;
  readonly bytes: number;
  readonly type?: string;
  /** The request body in base64, where the behaviour says `echo`. */
  readonly raw?: string;
}

/** A request as the pod saw it. */
export interface PodRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  /** Ordinal of the connection it came on. */
  readonly connection: number;
  /** The TLS server name. */
  readonly servername?: string;
  readonly bytes: number;
  readonly sha256?: string;
  readonly isComplete: boolean;
  /** The connection broke before the answer was complete. */
  readonly isAborted: boolean;
}

export interface PodSpec {
  readonly name: string;
  /** Loopback address, one of its own for each pod. */
  readonly address: string;
  /** Default: a free one. */
  readonly port?: number;
  readonly tls?: { readonly key: string; readonly cert: string };
}

/** One pod of a {@link PodHost}. */
export interface Pod {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  /** What it does from now on. */
  set(behaviour: PodBehaviour): Promise<void>;
  /** What it does with its next requests, one each. */
  next(...behaviours: readonly PodBehaviour[]): Promise<void>;
  requests(): Promise<readonly PodRequest[]>;
  connections(): Promise<{ readonly open: number; readonly accepted: number }>;
  /** Refuses connections and ends those there are. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
}

/** A process that runs pods. */
export interface PodHost {
  readonly pods: readonly Pod[];
  /** What the next requests meet, one each, whichever pod gets them. */
  next(...behaviours: readonly PodBehaviour[]): Promise<void>;
  /** All requests of all pods. */
  requests(): Promise<readonly PodRequest[]>;
  /** Back to plain answers, no requests seen, no connections. */
  reset(): Promise<void>;
  /** Ends the process. Idempotent. */
  stop(): Promise<void>;
}

const SCRIPT = fileURLToPath(new URL("./pod-server.mjs", import.meta.url));

/** Starts a process with these pods. */
export async function startPods(specs: readonly PodSpec[]): Promise<PodHost> {
  const child = fork(SCRIPT, { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const send = commandsTo(child);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const pods = await Promise.all(
    specs.map(async (spec) => podOf(spec.name, (await send("start", { ...spec })) as PodPlace, send)),
  );
  return {
    pods,
    next: async (...behaviours) => void (await send("next", { behaviours })),
    requests: async () => (await Promise.all(pods.map((pod) => pod.requests()))).flat(),
    reset: async () => void (await send("reset", {})),
    async stop() {
      child.kill("SIGKILL");
      await exited;
    },
  };
}

/** So many pods with names and addresses of their own: `a-0` on 127.`block`.0.10 and so on. */
export function podSpecs(prefix: string, block: number, count: number): readonly PodSpec[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `${prefix}-${index}`,
    address: `127.${block}.0.${10 + index}`,
  }));
}

interface PodPlace {
  readonly address: string;
  readonly port: number;
}

type Send = (command: string, input: Record<string, unknown>) => Promise<unknown>;

function podOf(name: string, { address, port }: PodPlace, send: Send): Pod {
  return {
    name,
    address,
    port,
    set: async (behaviour) => void (await send("set", { name, behaviour })),
    next: async (...behaviours) => void (await send("next", { name, behaviours })),
    requests: async () => (await send("requests", { name })) as readonly PodRequest[],
    connections: async () => (await send("connections", { name })) as { open: number; accepted: number },
    refuse: async () => void (await send("refuse", { name })),
    accept: async () => void (await send("accept", { name })),
  };
}

interface Reply {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

function commandsTo(child: ChildProcess): Send {
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  let lastId = 0;
  child.on("message", ({ id, result, error }: Reply) => {
    if (error === undefined) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  });
  child.once("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error("the process of the pods has ended"));
  });
  return (command, input) =>
    new Promise((resolve, reject) => {
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      child.send({ id: lastId, command, ...input });
    });
}
