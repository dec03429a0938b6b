/** Killing a process at a change of the file system, and many such points side by side. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import path from 'node:path';

const DIST = path.resolve(import.meta.dirname, '../../dist');
const CHILD = path.join(import.meta.dirname, 'crash-child.js');

/** The built library, which the child loads. */
export const DOOR = path.join(DIST, 'store/open.js');
export const KILLS = ['before', 'after', 'torn'] as const;
export type Kill = (typeof KILLS)[number];

/** In which ways a call can be the last one: a write can also be made by half. */
export function killsOf(call: string): readonly Kill[] {
  return /^(write|copyFile)/.test(call) ? KILLS : KILLS.slice(0, 2);
}

/**
 * Runs the operation in a child until it dies at its n-th call (0: when it has answered).
 * @returns the names of its calls if it answered.
 */
export async function die(root: string, name: string, kill: Kill, n: number): Promise<string[] | undefined> {
  const child = spawn(process.execPath, [CHILD, DIST, root, name, kill, String(n)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let errors = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (errors += String(chunk)));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself (${code ?? signal}): ${errors}`);
  return out.startsWith('done ') ? out.slice(5).trim().split(' ') : undefined;
}

/** Most of a point's time is another process's start: some more at once than there are cores. */
export async function sideBySide<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...all];
  const worker = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) await work(one);
  };
  await Promise.all(Array.from({ length: os.availableParallelism() + 1 }, worker));
}
