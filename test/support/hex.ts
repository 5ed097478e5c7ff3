/** Bytes of `0a 60 00 0a`; `xx*12` repeats a byte. */
export function hex(text: string): Uint8Array {
  return Uint8Array.from(
    text
      .trim()
      .split(/\s+/)
      .flatMap((part) => {
        const [byte = "", times = "1"] = part.split("*");
        if (!/^[0-9a-f]{2}$/.test(byte)) throw new RangeError(`"${part}" is no byte`);
        return new Array<number>(Number(times)).fill(Number.parseInt(byte, 16));
      }),
  );
}
