// How the suite waits: for time, and for the world to get somewhere.

export const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
export const sleepUntil = (at: number) => sleep(at - performance.now());

export async function waitFor(what: string, ms: number, condition: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + ms;
  for (;;) {
    if (await condition().catch(() => false)) return;
    if (performance.now() > until) throw new Error(`waited ${ms} ms in vain until ${what}`);
    await sleep(200);
  }
}
