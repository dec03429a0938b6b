/**
 * Two keys can lead to one file: a folder is mounted a second time (bind mount, overlayfs, FUSE), or a link leads there. What moves onto itself would be
 * taken for its own copy, and go.
 */
import type { BigIntStats } from 'node:fs';
import { dirname } from 'node:path';
import { S3Error } from '../base/errors.js';
import { lstatOf } from '../fs/stat.js';
import type { ObjectRef } from './contract.js';
import type { Core, Found } from './core.js';

/** Whether two places hold the same inode; hard links are one file, too. */
export function isSameFile(a: Pick<BigIntStats, 'dev' | 'ino'>, b: Pick<BigIntStats, 'dev' | 'ino'>): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

/**
 * Whether a file may be what was copied from another: a file of its own, and reached by no link. A second view of a file system may count devices and inodes
 * by itself, but hands on the ctime, which no copy shares with what it was copied from.
 */
export function isFileOfItsOwn({ stat: a }: Found, { stat: b, link }: Found): boolean {
  return link === undefined && !isSameFile(a, b) && a.ctimeNs !== b.ctimeNs;
}

/** @throws InvalidRequest if what is at `to` is the file that is at `from`. */
export function checkTwoFiles(core: Core, from: ObjectRef, to: ObjectRef): void {
  const there = core.find(to.bucket, to.key);
  const source = there && core.find(from.bucket, from.key);
  if (source && isSameFile(source.stat, there.stat)) throw oneFile(from, to);
}

export function oneFile(from: ObjectRef, to: ObjectRef): S3Error {
  const [source, target] = [from, to].map(({ bucket, key }) => `${bucket}/${key}`);
  return new S3Error('InvalidRequest', `"${source}" and "${target}" are one file, which cannot move onto itself.`);
}

/** Whether a path, or what exists of it, leads to a folder or below it, whatever mounts lie between. A link to a folder is not that folder. */
export function leadsInto(path: string, folder: string, root: string): boolean {
  const stat = lstatOf(folder);
  if (!stat?.isDirectory()) return false;
  for (let at = path; at.length > root.length; at = dirname(at)) {
    // behind a link, too
    const one = lstatOf(`${at}/.`);
    if (one && isSameFile(one, stat)) return true;
  }
  return false;
}
