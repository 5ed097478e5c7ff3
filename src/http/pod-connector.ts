import type { Socket } from "node:net";
import { buildConnector, errors } from "undici";
import type { Clock } from "../clock.js";
import { formatHostPort } from "../model/ip-address.js";

/** A connector of undici that tells the socket it dials with, so that dialling can be stopped. */
export type PodDial = (...connecting: Parameters<buildConnector.connector>) => Socket;

/** Dials for the private clients of a service. */
export interface PodConnector {
  /** A connector that dials `address:port` whatever origin the client was made for. */
  to(address: string, port: number): PodDial;
}

export interface PodConnectorOptions {
  readonly clock: Clock;
  /** How long a TCP (and TLS) handshake may take, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Options of `tls.connect` for https origins, such as `ca`, `cert`, `key`. */
  readonly tls: Readonly<Record<string, unknown>> | undefined;
}

/**
 * The socket goes to the pod; everything above it stays the service's: undici derives `Host`, the TLS server name and
 * the certificate check from the client's origin, which is the service's own. Only the dialled address is replaced.
 */
export function createPodConnector(options: PodConnectorOptions): PodConnector {
  // undici rounds its connect timeout up to its coarse timers: ours is exact, so its own is off (0).
  const dial = buildConnector({ ...options.tls, timeout: 0 });
  return {
    to(address, port) {
      return (request, callback) => {
        let timer: { cancel(): void } | undefined;
        const settled: buildConnector.Callback = (...outcome) => {
          timer?.cancel();
          callback(...outcome);
        };
        const connect = { ...request, hostname: address, port: String(port) };
        if (request.protocol === "https:") connect.servername = request.servername ?? serverName(request.hostname);
        // The declared type of a connector hides that it returns the socket it dials with.
        const socket = dial(connect, settled) as unknown as Socket;
        timer = options.clock.setBackgroundTimer(options.connectTimeoutMs, () => {
          const to = formatHostPort(address, port);
          socket.destroy(
            new errors.ConnectTimeoutError(`no connection to ${to} within ${options.connectTimeoutMs} ms`),
          );
        });
        return socket;
      };
    },
  };
}

/** The name to ask for in TLS: IP addresses have none (RFC 6066 section 3). */
function serverName(hostname: string): string {
  return hostname.startsWith("[") || /^[0-9.]+$/.test(hostname) ? "" : hostname;
}
