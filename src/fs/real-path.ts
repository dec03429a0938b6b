/** Where links lead: in bytes, for the name of what they lead to need be no UTF-8, and as text it might be that of another file. */
import { isUtf8 } from 'node:buffer';
import { readlinkSync, realpathSync } from 'node:fs';

/** realpath(3). @throws what the system says. */
export function realPathOf(path: string | Buffer): Buffer {
  return realpathSync.native(path, 'buffer');
}

/** Path of an open file. Linux only: the system tells it by the descriptor. */
export function pathOfOpen(fd: number): Buffer {
  return readlinkSync(`/proc/self/fd/${fd}`, 'buffer');
}

/** Where the link at `from` would lead if it stood in `folder`. @throws what the system says. */
export function realPathFrom(folder: string, from: string): Buffer {
  const target = readlinkSync(from, 'buffer');
  const isAbsolute = target[0] === 0x2f;
  return realPathOf(isAbsolute ? target : Buffer.concat([Buffer.from(`${folder}/`), target]));
}

/** @returns undefined for a path that no text can give. */
export function textOf(path: Buffer): string | undefined {
  return isUtf8(path) ? path.toString() : undefined;
}
