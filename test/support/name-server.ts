import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { type Answer, type DecodedPacket, decode, encode, type Packet } from "dns-packet";

/** What a test server does with a query: bytes or a packet to send back, several of them, or nothing at all. */
export type Reaction = Uint8Array | Packet | readonly (Uint8Array | Packet)[] | undefined;

/** A query as a test sees it. */
export interface SeenQuery {
  readonly name: string;
  readonly type: string;
  readonly port: number;
  readonly packet: DecodedPacket;
}

/** A nameserver on the loopback device, for tests. */
export interface TestNameServer {
  readonly address: string;
  readonly port: number;
  readonly seen: readonly SeenQuery[];
  /** The names asked for, as `name type`. */
  asked(): readonly string[];
  close(): void;
}

/** Starts a server that answers every query as `react` says. */
export async function startNameServer(
  react: (query: SeenQuery, socket: Socket) => Reaction,
  address = "127.0.0.1",
): Promise<TestNameServer> {
  const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
  const seen: SeenQuery[] = [];
  socket.on("message", (message, from) => {
    const packet = decode(message);
    const [question] = packet.questions ?? [];
    const query = { name: question?.name ?? "", type: question?.type ?? "", port: from.port, packet };
    seen.push(query);
    const reaction = react(query, socket);
    if (reaction === undefined) return;
    for (const reply of isList(reaction) ? reaction : [reaction]) {
      socket.send(reply instanceof Uint8Array ? reply : encode(reply), from.port, from.address);
    }
  });
  socket.bind(0, address);
  await once(socket, "listening");
  return {
    address,
    port: socket.address().port,
    seen,
    asked: () => seen.map(({ name, type }) => `${name} ${type}`),
    close: () => socket.close(),
  };
}

/** A response to the query with these answers; `changes` overrides anything. */
export function replyTo(
  query: SeenQuery,
  answers: readonly Answer[],
  changes: Packet & { rcode?: number } = {},
): Packet {
  const { rcode = 0, ...rest } = changes;
  return {
    type: "response",
    id: query.packet.id,
    flags: rcode,
    questions: query.packet.questions,
    answers: [...answers],
    ...rest,
  };
}

/** Answers from a table `{ "name": { A: [...], AAAA: [...] } }`; NXDOMAIN for other names. */
export function zone(
  table: Readonly<
    Record<string, { readonly A?: readonly string[]; readonly AAAA?: readonly string[]; readonly ttl?: number }>
  >,
): (query: SeenQuery) => Packet {
  return (query) => {
    const entry = table[query.name];
    if (entry === undefined) return replyTo(query, [], { rcode: 3 });
    const type = query.type as "A" | "AAAA";
    const answers = (entry[type] ?? []).map((data) => ({ type, name: query.name, ttl: entry.ttl ?? 30, data }));
    return replyTo(query, answers);
  };
}

function isList(reaction: Exclude<Reaction, undefined>): reaction is readonly (Uint8Array | Packet)[] {
  return Array.isArray(reaction);
}
