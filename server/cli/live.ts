// Owns lines of a terminal that are drawn again and again in their place. Must not know what they say.
import { forTerminal } from "./io.ts";

const CLEAR_BELOW = "\u001b[J";
/** A line that is too long for the terminal is cut by it: wrapped, it would be two, and the next drawing begin in the wrong place. */
const NO_WRAP = "\u001b[?7l";
const WRAP = "\u001b[?7h";
const BAR_WIDTH = 24;

export class LiveArea {
  readonly #write: (text: string) => void;
  #drawn: readonly string[] = [];

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  /** In the place of what was drawn last. */
  draw(lines: readonly string[]): void {
    const text = lines.map(forTerminal).join("\n");
    this.#write(`${this.#toStart()}${NO_WRAP}${text}${WRAP}`);
    this.#drawn = lines;
  }

  clear(): void {
    if (this.#drawn.length > 0) this.#write(this.#toStart());
    this.#drawn = [];
  }

  /** Prints something that stays, and draws again below it. */
  above(print: () => void): void {
    const lines = this.#drawn;
    this.clear();
    print();
    if (lines.length > 0) this.draw(lines);
  }

  /** Leaves what is drawn, and the cursor below it. */
  leave(): void {
    if (this.#drawn.length > 0) this.#write("\n");
    this.#drawn = [];
  }

  #toStart(): string {
    const up = this.#drawn.length - 1;
    return `\r${up > 0 ? `\u001b[${up}A` : ""}${CLEAR_BELOW}`;
  }
}

/** `[######------]`. */
export function progressBar(done: number, total: number): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const filled = Math.floor(share * BAR_WIDTH);
  return `[${"#".repeat(filled)}${"-".repeat(BAR_WIDTH - filled)}]`;
}
