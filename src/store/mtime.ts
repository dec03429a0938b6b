/**
 * The modification time that a client sends with a file, so that a copy made through S3 bears the same one: `x-amz-meta-mtime` (rclone, s3fs: seconds
 * since 1970 with a fraction) and `x-amz-meta-s3cmd-attrs` (s3cmd: `atime:…/mtime:…/…`).
 */
import type { KeyFacts } from '../base/model.js';

/** Beyond what file systems can hold (ext4: the year 2446) a value is taken for nonsense. */
const LATEST = 15_032_385_535;
/** ext4: 1901. */
const EARLIEST = -2_147_483_648;
const SECONDS = /^-?\d{1,11}(\.\d{1,9})?$/;

/** @returns seconds since 1970, to about a quarter of a microsecond (a double); undefined if none was sent, or nonsense. */
export function clientMtime({ metadata }: KeyFacts): number | undefined {
  const attrs = metadata?.['s3cmd-attrs']?.split('/').find((attr) => attr.startsWith('mtime:'));
  const text = metadata?.['mtime'] ?? attrs?.slice('mtime:'.length);
  if (text === undefined || !SECONDS.test(text)) return undefined;
  const seconds = Number(text);
  return seconds >= EARLIEST && seconds <= LATEST ? seconds : undefined;
}
