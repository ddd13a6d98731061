// Light, dark, or as the system says; remembered in this browser.

import { value } from "./store.ts";

export type Theme = "system" | "light" | "dark";
const THEMES: readonly Theme[] = ["system", "light", "dark"];
const NAME = "perdure.theme";

const stored = localStorage.getItem(NAME);
export const theme = value<Theme>(THEMES.find((one) => one === stored) ?? "system");

function apply(chosen: Theme): void {
  if (chosen === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
}

export function nextTheme(): void {
  const next = THEMES[(THEMES.indexOf(theme.get()) + 1) % THEMES.length] ?? "system";
  localStorage.setItem(NAME, next);
  theme.set(next);
}

apply(theme.get());
theme.on(apply);
