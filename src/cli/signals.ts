/** Signals that ask the process to end. */

const ENDING = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/**
 * ms in which a further signal is the same wish: npm (npx) hands to its child what the terminal has sent to both, so one Ctrl-C may
 * arrive twice.
 */
const SAME_WISH_MS = 500;

/**
 * Listens for them. The first one calls `end`, with the exit code that shells give such an end; a later one calls `giveUp`.
 * @param end takes its time.
 */
export function onSignals(end: (signal: NodeJS.Signals, code: number) => void, giveUp: (code: number) => void): void {
  let first: number | undefined;
  for (const [signal, code] of Object.entries(ENDING) as [keyof typeof ENDING, number][])
    process.on(signal, () => {
      if (first === undefined) {
        first = performance.now();
        end(signal, code);
      } else if (performance.now() - first > SAME_WISH_MS) giveUp(code);
    });
}
