import { fork } from "node:child_process";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";

/** A TCP address to which no connection comes about, and none is refused. */
export interface BlackHole {
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

const SCRIPT = fileURLToPath(new URL("./black-hole-server.mjs", import.meta.url));
const MOST_FILLERS = 20;
const HANGING_AFTER_MS = 300;

/**
 * A listener that accepts nothing and whose backlog is full: the kernel drops what else comes, as if the address were
 * gone. Undefined where the system answers such connections in another way.
 */
export async function startBlackHole(address: string): Promise<BlackHole | undefined> {
  const child = fork(SCRIPT, [address], { execArgv: [], stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const port = await new Promise<number>((resolve, reject) => {
    child.once("message", (message) => resolve(message as number));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the black hole ended with ${code}`)));
  });
  const fillers: Socket[] = [];
  const stop = async (): Promise<void> => {
    for (const filler of fillers) filler.destroy();
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  };
  while (fillers.length < MOST_FILLERS) {
    const filler = connect(port, address).on("error", () => undefined);
    fillers.push(filler);
    if (await isHanging(filler)) return { address, port, stop };
  }
  await stop();
  return undefined;
}

function isHanging(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(true), HANGING_AFTER_MS);
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(false);
    });
  });
}
