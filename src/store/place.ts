/** How a file gets its name: by rename(2), or by link(2) where nothing may be. */
import { linkSync, lstatSync, renameSync, unlinkSync } from 'node:fs';
import { S3Error, errno } from '../base/errors.js';

/** Thrown by a guard: what was made no longer fits what is there. The staged file is left to whoever goes on with it. */
export class Outdated extends Error {}

/**
 * rename(2), or link(2) when nothing may be there: atomic against programs outside too. A crash between link and unlink leaves two names of one
 * file; recovery takes the old one away. A link is renamed: link(2) follows it on some systems.
 * @param asked whether it is a client who wants nothing to be there.
 */
export function place(from: string, to: string, exclusive: boolean, asked: boolean): void {
  if (exclusive && !lstatSync(from).isSymbolicLink() && tryLink(from, to, asked)) return dropOld(from, to);
  renameSync(from, to);
}

/** @returns false on a file system without hard links. @throws if something is there: PreconditionFailed if a client `asked` that nothing is, else Outdated. */
function tryLink(from: string, to: string, asked: boolean): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errno(error) === 'EEXIST') {
      if (!asked) throw new Outdated();
      throw new S3Error('PreconditionFailed', undefined, { data: { Condition: 'If-None-Match' } });
    }
    if (errno(error) !== 'EPERM' && errno(error) !== 'ENOTSUP' && errno(error) !== 'EMLINK') throw error;
    return false;
  }
}

/** The old name of a link goes; if it cannot, the new one does. */
function dropOld(from: string, to: string): void {
  try {
    unlinkSync(from);
  } catch (error) {
    unlinkSync(to);
    throw error;
  }
}
