import { type Answer, decode, encode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readAddressAnswer } from "../../src/dns/address-answer.js";
import { type DnsQuestion, encodeQuery, readReply, responseCodeName } from "../../src/dns/dns-message.js";

const QUESTION: DnsQuestion = { name: "quotes.energy.svc.cluster.local", type: "A" };

function response(answers: Answer[], question: DnsQuestion = QUESTION): Buffer {
  return encode({ type: "response", id: 7, questions: [{ ...question, class: "IN" }], answers });
}

function read(message: Uint8Array, question: DnsQuestion = QUESTION) {
  const reply = readReply(message, 7, question);
  if (!reply.isReply) throw new Error(reply.why);
  return readAddressAnswer(reply.packet, question);
}

describe("readReply", () => {
  it("writes a query that asks for recursion in class IN", () => {
    const packet = decode(Buffer.from(encodeQuery(513, QUESTION)));
    expect(packet).toMatchObject({ id: 513, flag_qr: false, flag_rd: true, questions: [{ ...QUESTION, class: "IN" }] });
  });

  it("accepts the name in any case", () => {
    const message = encode({
      type: "response",
      id: 7,
      questions: [{ ...QUESTION, name: QUESTION.name.toUpperCase() }],
    });
    expect(readReply(message, 7, QUESTION).isReply).toBe(true);
  });

  const wrong: readonly [title: string, message: Buffer, why: string][] = [
    ["a query", encode({ type: "query", id: 7, questions: [QUESTION] }), "no response"],
    ["another id", encode({ type: "response", id: 8, questions: [QUESTION] }), "another id"],
    [
      "another name",
      encode({ type: "response", id: 7, questions: [{ ...QUESTION, name: "evil" }] }),
      "another question",
    ],
    [
      "another type",
      encode({ type: "response", id: 7, questions: [{ ...QUESTION, type: "AAAA" }] }),
      "another question",
    ],
    [
      "another class",
      encode({ type: "response", id: 7, questions: [{ ...QUESTION, class: "CH" }] }),
      "another question",
    ],
    ["no question", encode({ type: "response", id: 7 }), "another question"],
    ["two questions", encode({ type: "response", id: 7, questions: [QUESTION, QUESTION] }), "another question"],
    ["nothing", Buffer.alloc(0), "malformed (Header must be 12 bytes)"],
  ];
  it.each(wrong)("refuses %s", (_title, message, why) => {
    expect(readReply(message, 7, QUESTION)).toEqual({ isReply: false, why });
  });

  it("refuses a message cut off anywhere", () => {
    const whole = response([{ type: "A", name: QUESTION.name, ttl: 30, data: "10.1.2.3" }]);
    for (let length = 0; length < whole.length; length += 1) {
      expect(readReply(whole.subarray(0, length), 7, QUESTION).isReply, `${length} bytes`).toBe(false);
    }
    expect(readReply(whole, 7, QUESTION).isReply).toBe(true);
  });

  it("never throws, whatever the bytes", () => {
    const whole = response([
      { type: "CNAME", name: QUESTION.name, ttl: 30, data: "other.energy" },
      { type: "A", name: "other.energy", ttl: 30, data: "10.1.2.3" },
    ]);
    const damaged = fc
      .array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 6 })
      .map((changes) => changes.reduce((bytes, [index, value]) => bytes.with(index, value), new Uint8Array(whole)));
    const headed = fc.uint8Array({ maxLength: 200 }).map((tail) => new Uint8Array([...whole.subarray(0, 12), ...tail]));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 600 }), damaged, headed), (message) => {
        const reply = readReply(message, 7, QUESTION);
        if (!reply.isReply) {
          expect(reply.why).not.toBe("");
          return;
        }
        expect(["addresses", "no-such-name", "no-data", "failed"]).toContain(
          readAddressAnswer(reply.packet, QUESTION).kind,
        );
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("readAddressAnswer", () => {
  it("gives canonical addresses, each once, and the least lifetime", () => {
    const question: DnsQuestion = { name: "a.b", type: "AAAA" };
    const message = response(
      [
        { type: "AAAA", name: "A.b", ttl: 30, data: "fd00:0:0:0::7" },
        { type: "AAAA", name: "a.b", ttl: 20, data: "fd00::7" },
        { type: "AAAA", name: "a.b", ttl: 40, data: "fd00::8" },
        { type: "AAAA", name: "unrelated", ttl: 1, data: "fd00::9" },
      ],
      question,
    );
    expect(read(message, question)).toEqual({ kind: "addresses", addresses: ["fd00::7", "fd00::8"], ttlMs: 20_000 });
  });

  it("follows aliases in any order and counts their lifetimes", () => {
    const message = response([
      { type: "A", name: "c.d", ttl: 30, data: "10.1.2.3" },
      { type: "CNAME", name: "b.c", ttl: 5, data: "C.d" },
      { type: "CNAME", name: QUESTION.name, ttl: 60, data: "b.c" },
    ]);
    expect(read(message)).toEqual({ kind: "addresses", addresses: ["10.1.2.3"], ttlMs: 5_000 });
  });

  it("gives up on a circle of aliases", () => {
    const message = response([
      { type: "CNAME", name: QUESTION.name, ttl: 60, data: "b.c" },
      { type: "CNAME", name: "b.c", ttl: 60, data: QUESTION.name },
    ]);
    expect(read(message)).toEqual({ kind: "failed", why: "answered with a chain of more than 16 CNAME records" });
  });

  it("finds no data behind an alias that leads nowhere", () => {
    expect(read(response([{ type: "CNAME", name: QUESTION.name, ttl: 60, data: "b.c" }]))).toEqual({ kind: "no-data" });
  });

  it("takes a lifetime with the top bit set for 0", () => {
    const message = response([{ type: "A", name: QUESTION.name, ttl: 0x8000_0000, data: "10.1.2.3" }]);
    expect(read(message)).toMatchObject({ ttlMs: 0 });
  });

  it("does not use records of another class", () => {
    const message = response([{ type: "A", name: QUESTION.name, ttl: 9, class: "CH", data: "10.1.2.3" }]);
    expect(read(message)).toEqual({ kind: "no-data" });
  });

  it("names response codes", () => {
    expect([2, 3, 5, 9].map(responseCodeName)).toEqual(["SERVFAIL", "NXDOMAIN", "REFUSED", "RCODE 9"]);
  });
});
