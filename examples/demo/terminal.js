// @ts-check
/** What the demo shows while it runs: a picture that is drawn again and again on a terminal, lines anywhere else. */

/** @import { WriteStream } from "node:tty" */
/** @import { RosterRow } from "./roster.js" */

/** @typedef {{ calls: number, failed: number, retries: number }} Totals */

/**
 * @typedef {object} Terminal
 * @property {(lines: string[]) => void} intro
 * @property {(title: string, story: string) => void} phase
 * @property {(rows: RosterRow[], totals: Totals) => void} show
 * @property {(text: string) => void} event
 * @property {(lines: string[]) => void} outro
 * @property {() => void} close leaves the terminal as it was
 */

/** How many of the newest events the picture has. */
const EVENTS_SHOWN = 5;
/** How many rosters, four a second, make a line. */
const ROSTERS_A_LINE = 4;

/**
 * @param {WriteStream | undefined} stream undefined to show nothing
 * @returns {Terminal}
 */
export function createTerminal(stream) {
  if (stream === undefined) return createLines(() => {});
  if (stream.isTTY !== true) return createLines((line) => stream.write(`${line}\n`));
  return createPicture(stream, process.env["NO_COLOR"] ? (_, text) => text : paint);
}

/** @type {Record<string, number>} SGR codes */
const COLOURS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, magenta: 35, cyan: 36 };

/**
 * @param {string} colour
 * @param {string} text
 */
function paint(colour, text) {
  return `\x1b[${COLOURS[colour] ?? 0}m${text}\x1b[0m`;
}

/**
 * @param {(line: string) => void} write
 * @returns {Terminal}
 */
function createLines(write) {
  const startedAt = performance.now();
  /** @type {Map<string, number>} */
  const answers = new Map();
  let rosters = 0;
  const at = () => `${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(5)} s`;
  return {
    intro: (lines) => lines.forEach(write),
    phase: (title, story) => write(`\n${at()}  == ${title}: ${story}`),
    show(rows, { calls, failed, retries }) {
      for (const { cluster, pod, identity, recent } of rows) {
        const name = `${cluster}/${pod} (${identity ?? "identity unknown"})`;
        if (recent > 0) answers.set(name, (answers.get(name) ?? 0) + recent);
      }
      rosters += 1;
      if (rosters % ROSTERS_A_LINE !== 0) return;
      const who = [...answers].map(([name, count]) => `${name} ${count}`).join(", ");
      write(`${at()}  ${calls} calls, ${failed} failed, ${retries} retries; answered: ${who || "nobody"}`);
      answers.clear();
    },
    event: (text) => write(`${at()}  -- ${text}`),
    outro: (lines) => ["", ...lines].forEach(write),
    close() {},
  };
}

/**
 * @param {WriteStream} stream
 * @param {(colour: string, text: string) => string} colour
 * @returns {Terminal}
 */
function createPicture(stream, colour) {
  /** @type {string[]} */
  const events = [];
  let heading = { title: "", story: "" };
  let drawnLines = 0;
  let isCursorHidden = false;

  /** @param {(readonly [colour: string, text: string])[]} lines */
  function draw(lines) {
    // A line that wraps would take two rows of the screen, and the way back up would be too short.
    const room = Math.max(20, (stream.columns ?? 80) - 1);
    const painted = lines.map(([name, text]) => (text === "" ? "" : colour(name, text.slice(0, room))));
    const back = drawnLines === 0 ? "\x1b[?25l" : `\x1b[${drawnLines}A\x1b[J`;
    isCursorHidden = true;
    stream.write(`${back}${painted.join("\n")}\n`);
    drawnLines = lines.length;
  }

  function close() {
    if (isCursorHidden) stream.write("\x1b[?25h");
    isCursorHidden = false;
  }

  return {
    intro: (lines) => stream.write(`${lines.map((line) => colour("dim", line)).join("\n")}\n\n`),
    phase(title, story) {
      heading = { title, story };
    },
    show(rows, { calls, failed, retries }) {
      draw([
        ["bold", heading.title],
        ["cyan", heading.story],
        ["bold", ""],
        ["dim", "  cluster       pod         address      identity   calls  now"],
        ...rows.map(pictureRow),
        ["bold", ""],
        [failed > 0 ? "red" : "green", `  ${calls} calls, ${failed} failed, ${retries} retries`],
        ["bold", ""],
        ...events.map((text) => /** @type {const} */ (["yellow", `  ${text}`])),
      ]);
    },
    event(text) {
      events.push(text);
      if (events.length > EVENTS_SHOWN) events.shift();
    },
    outro(lines) {
      close();
      stream.write(`\n${lines.join("\n")}\n`);
    },
    close,
  };
}

const MOOD_COLOURS = { used: "green", failing: "red", refused: "magenta", waiting: "dim" };
const MOOD_MARKS = { used: "●", failing: "✗", refused: "⊘", waiting: "○" };

/**
 * One pod: who it is, how many calls it has answered, and a bar of those since the picture before.
 *
 * @param {RosterRow} row
 * @returns {readonly [colour: string, text: string]}
 */
function pictureRow({ cluster, pod, address, identity, answers, recent, mood }) {
  const colour = recent > 0 && mood === "waiting" ? "cyan" : MOOD_COLOURS[mood];
  const columns = [cluster.padEnd(13), pod.padEnd(11), address.padEnd(12), String(identity ?? "?").padStart(8)];
  const bar = "█".repeat(Math.min(recent, 24));
  return [colour, `${MOOD_MARKS[mood]} ${columns.join(" ")} ${String(answers).padStart(7)}  ${bar}`];
}
