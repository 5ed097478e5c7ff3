/** Names for the numbers that a byte of a map may hold. */
export interface CodeTable<Name extends string> {
  numberOf(name: Name): number;
  /** Undefined for a number without a name. */
  nameOf(number: number): Name | undefined;
  /** All codes, for messages: `0 (any), 6 (tcp)`. */
  readonly text: string;
}

/** @param codes each number at most once */
export function createCodeTable<Name extends string>(codes: Readonly<Record<Name, number>>): CodeTable<Name> {
  const entries = Object.entries(codes) as [Name, number][];
  const names = new Map(entries.map(([name, number]) => [number, name]));
  return {
    numberOf: (name) => codes[name],
    nameOf: (number) => names.get(number),
    text: entries.map(([name, number]) => `${number} (${name})`).join(", "),
  };
}
