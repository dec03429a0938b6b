/** The disk: room, the clock of the file system, how long a flush takes. */
import { closeSync, fdatasyncSync, fstatSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { errno } from '../../base/errors.js';
import type { Report } from './finding.js';

const LOW_SHARE = 0.05;
const SKEW_MS = 5_000;
const FLUSHES = 5;
const SLOW_FLUSH_MS = 50;
/** Faster than this is no disk: the flush ends in some cache. */
const PLAUSIBLE_FLUSH_MS = 0.02;

/** @param path a directory on the file system. */
export function examineRoom(path: string, report: Report): void {
  const { bavail, blocks, bsize, ffree, files } = statfsSync(path);
  const free = bavail * bsize;
  const low = blocks > 0 && bavail / blocks < LOW_SHARE;
  report({
    check: 'free-space',
    level: low ? 'warning' : 'ok',
    message: `${gib(free)} of ${gib(blocks * bsize)} free`,
    ...(low && { cure: 'make room; --min-free refuses uploads before the disk is full' }),
  });
  // btrfs, ZFS and network file systems count no inodes
  if (files === 0) return;
  const few = ffree / files < LOW_SHARE;
  report({
    check: 'free-inodes',
    level: few ? 'warning' : 'ok',
    message: `${ffree.toLocaleString('en')} of ${files.toLocaleString('en')} inodes free`,
    ...(few && { cure: 'remove small files, or make the file system anew with more inodes' }),
  });
}

/**
 * Writes a small file again and again: the stamps tell clock and granularity, the time of fdatasync(2) whether a flush reaches a disk.
 * @param directory one of ours, or the root.
 */
export function examineWriting(directory: string, report: Report): void {
  const path = join(directory, `.gos3rve-doctor-${randomBytes(6).toString('hex')}`);
  const fd = openProbe(path);
  if (fd === undefined) {
    report({
      check: 'writable',
      level: 'warning',
      message: `${directory} cannot be written by this user`,
      cure: 'serve it with --read-only --state-dir DIR, or give this user the right to write',
    });
    return;
  }
  try {
    const times: number[] = [];
    const stamps: bigint[] = [];
    for (let i = 0; i < FLUSHES; i++) {
      writeSync(fd, Buffer.alloc(4096, i), 0, 4096, 0);
      const before = performance.now();
      fdatasyncSync(fd);
      times.push(performance.now() - before);
      stamps.push(fstatSync(fd, { bigint: true }).mtimeNs);
    }
    tellFlush(times, report);
    tellClock(stamps, report);
  } finally {
    closeSync(fd);
    rmSync(path, { force: true });
  }
}

/** A new file; undefined where this user may make none. */
function openProbe(path: string): number | undefined {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    if (['EACCES', 'EPERM', 'EROFS'].includes(errno(error) ?? '')) return undefined;
    throw error;
  }
}

function tellFlush(times: number[], report: Report): void {
  const median = times.toSorted((a, b) => a - b)[FLUSHES >> 1] ?? 0;
  const message = `a flush takes ${median < 1 ? median.toFixed(2) : median.toFixed(0)} ms`;
  if (median < PLAUSIBLE_FLUSH_MS)
    report({
      check: 'flush',
      level: 'warning',
      message: `${message}: nothing on a disk is as fast, so a power cut may take what was acknowledged`,
      cure: 'fine for tests; else look for a cache without battery, libeatmydata, or a file system in memory',
    });
  else if (median > SLOW_FLUSH_MS)
    report({
      check: 'flush',
      level: 'note',
      message: `${message}: each upload waits for two of them`,
      cure: 'uploads at the same time share flushes; keep the journal on a faster disk with --state-dir; or --durability fast where a power cut may cost the last seconds',
    });
  else report({ check: 'flush', level: 'ok', message });
}

function tellClock(stamps: bigint[], report: Report): void {
  const now = Date.now();
  const last = Number((stamps.at(-1) ?? 0n) / 1_000_000n);
  const coarse = stamps.every((stamp) => stamp % 1_000_000_000n === 0n);
  report(
    coarse
      ? {
          check: 'clock-granularity',
          level: 'note',
          message: 'the file system counts whole seconds: a change within the same second is seen by looking twice',
          cure: 'nothing to do; files are trusted only once they are older than that',
        }
      : { check: 'clock-granularity', level: 'ok', message: 'time stamps are finer than a second' },
  );
  const skew = last - now;
  if (Math.abs(skew) > SKEW_MS)
    report({
      check: 'clock-skew',
      level: 'warning',
      message: `the file system's clock is ${Math.round(Math.abs(skew) / 1000)} s ${skew > 0 ? 'ahead of' : 'behind'} this machine's`,
      cure: 'let both follow the same NTP server',
    });
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
