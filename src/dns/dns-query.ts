import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import type { DecodedPacket } from "dns-packet";
import type { Clock, Timer } from "../clock.js";
import { OnehopError } from "../errors.js";
import { type DnsQuestion, encodeQuery, readReply } from "./dns-message.js";
import { canonicalServerAddress, type NameServer, nameServerPort } from "./name-server.js";

export interface DnsQueryOptions {
  readonly clock: Clock;
  /** How long to wait for the answer, in milliseconds. */
  readonly timeoutMs: number;
  /** Whether nobody waits for the answer, so that the query does not keep the process alive. Default false. */
  readonly isBackground?: boolean;
  /** Ends the query early; it then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** How many different wrong packets an error tells of. */
const MOST_WRONG_PACKETS = 5;

/**
 * Asks one server one question over UDP, with an id and a source port of its own, both random (RFC 5452 §9.2). Only a
 * well-formed response from that server with that id and question counts; anything else is ignored and the wait goes on.
 *
 * @returns the answer, whatever its response code
 * @throws OnehopError `ERR_ONEHOP_NAME` that tells what the server did, without naming it. Its `reason` is `timeout`,
 * `unreachable` (the network or the server's host refused, or the port is none) or `truncated` (the answer does not fit into a datagram)
 */
export function queryDns(question: DnsQuestion, server: NameServer, options: DnsQueryOptions): Promise<DecodedPacket> {
  const { clock, timeoutMs, signal, isBackground = false } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const id = randomInt(0x1_0000);
    const query = encodeQuery(id, question);
    const socket = createSocket(server.address.includes(":") ? "udp6" : "udp4");
    if (isBackground) socket.unref();
    const wrongPackets = new Set<string>();
    let isSettled = false;

    const settle = (finish: () => void): void => {
      if (isSettled) return;
      isSettled = true;
      timeLimit.cancel();
      signal?.removeEventListener("abort", onAbort);
      socket.close();
      finish();
    };
    const fail = (reason: string, what: string, details: { cause?: Error } = {}): void =>
      settle(() => reject(new OnehopError("ERR_ONEHOP_NAME", what, { reason, ...details })));
    const onAbort = (): void => settle(() => reject(signal?.reason));
    const onError = (cause: Error): void => fail("unreachable", `was unreachable (${cause.message})`, { cause });
    const timeLimit = startTimeLimit(clock, timeoutMs, isBackground, () => {
      const ignored = wrongPackets.size === 0 ? "" : `; ignored packets: ${[...wrongPackets].join(", ")}`;
      fail("timeout", `gave no answer within ${timeoutMs} ms${ignored}`);
    });

    socket.on("error", onError);
    socket.on("message", (message, from) => {
      // Once connected, the kernel drops what comes from elsewhere; this is for what was queued before.
      const isFromServer =
        from.port === nameServerPort(server) && canonicalServerAddress(from.address) === server.address;
      const reply = isFromServer ? readReply(message, id, question) : ANOTHER_SOURCE;
      if (!reply.isReply) {
        if (wrongPackets.size < MOST_WRONG_PACKETS) wrongPackets.add(reply.why);
      } else if (reply.packet.flag_tc) {
        fail("truncated", "gave an answer truncated to fit a datagram; asking again over TCP is not supported");
      } else {
        settle(() => resolve(reply.packet));
      }
    });
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      socket.connect(nameServerPort(server), server.address, () => {
        if (!isSettled) socket.send(query, (error) => error && onError(error));
      });
    } catch (error) {
      // A port out of range is refused at once.
      onError(error instanceof Error ? error : new Error(String(error)));
    }
  });
}

const ANOTHER_SOURCE = { isReply: false, why: "another source" } as const;

/** A timer that fires this much late tells of a stalled event loop. */
const STALL_MS = 100;

/**
 * Calls `fire` after `delayMs`. Node runs due timers before it reads sockets, so after a stall of the event loop the
 * answer may be waiting unread: the timer is then set once more, shortly (trap T-33).
 */
function startTimeLimit(clock: Clock, delayMs: number, isBackground: boolean, fire: () => void): Timer {
  const start = (ms: number, onTime: () => void): Timer =>
    isBackground ? clock.setBackgroundTimer(ms, onTime) : clock.setTimer(ms, onTime);
  const due = clock.now() + delayMs;
  let timer = start(delayMs, () => {
    if (clock.now() - due > STALL_MS) timer = start(STALL_MS, fire);
    else fire();
  });
  return { cancel: () => timer.cancel() };
}
