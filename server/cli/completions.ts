// Owns what may be typed for the value of an option or an argument. Must not know any shell.
import type { Option } from "commander";

const offered = new WeakMap<Option, readonly string[]>();

/** Words to complete, where the value may also be a list of them or another word. Choices complete without it. */
export function offering(option: Option, words: readonly string[]): Option {
  offered.set(option, words);
  return option;
}

export function wordsFor(option: Option): readonly string[] {
  return offered.get(option) ?? option.argChoices ?? [];
}
