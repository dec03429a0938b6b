/** What is known of the bytes of an object once a piece is behind them: nothing is read again but the piece. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { S3Error } from '../base/errors.js';
import type { Checksum, ChecksumAlgorithm, DigestPlan, Digests } from '../base/model.js';
import type { ByteFacts } from '../catalog/lines.js';
import type { Layout } from '../catalog/rows.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import type { Staged } from '../fs/stage.js';
import { combineChecksums, compositeChecksum } from '../wire/checksums.js';
import type { Core, Found } from './core.js';
import { knowledge } from './describe.js';
import { storedChecksum } from './objects.js';

const MAX_PARTS = 10_000;
const READ_BYTES = 1 << 20;

/** The algorithm in which an object's checksum is to be told when a piece is behind it; undefined if it has none that can go on. */
export function algorithmOf(before: Found | undefined): ChecksumAlgorithm | undefined {
  const checksum = before && knowledge(before) === 'known' ? before.row?.checksum : undefined;
  if (!checksum || before?.stat.size === 0n || checksum.type === 'COMPOSITE') return checksum?.algorithm;
  return combinable(checksum.algorithm);
}

/** The digests of a piece, with one that was not asked for when it arrived. */
export async function digestsWith(staged: Staged, algorithm: ChecksumAlgorithm | undefined): Promise<Digests> {
  if (algorithm === undefined || staged.digests[algorithm]) return staged.digests;
  await prepareHashes();
  const hasher = createHasher([algorithm]);
  const file = await open(staged.path, 'r');
  try {
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, staged.size));
    for (let at = 0; at < staged.size;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0) throw new S3Error('InternalError', 'What was sent has vanished. Try again.');
      hasher.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
  return { ...staged.digests, ...hasher.digest() };
}

/**
 * ETag over the old object and the piece as over parts: md5(md5s)-N. The parts keep their numbers, the piece is the next one.
 * @param etag of the old object. @param digests of the piece. @throws InvalidRequest if there are too many pieces.
 */
export function appendedFacts(
  core: Core,
  before: Found,
  etag: string,
  added: { size: number; digests: Digests },
  plan: DigestPlan,
): Omit<ByteFacts, 'fp'> {
  const { size, digests } = added;
  const going = algorithmOf(before);
  if (before.stat.size === 0n) {
    const { checksum } = storedChecksum(going ? { algorithms: [going], store: going } : plan, digests);
    return { etag: digests.MD5.toString('hex'), ...(checksum && { checksum }) };
  }
  const value = going && digests[going]?.toString('base64');
  const layout = longer(layoutOf(core, before, going), size, value);
  const count = layout.sizes.reduce((sum, [, times]) => sum + times, 0);
  if (count > MAX_PARTS)
    throw new S3Error('InvalidRequest', 'The object was appended to 10,000 times; copy it before going on.');
  const checksum = before.row?.checksum && value && goneOn(before.row.checksum, layout, before, { value, size });
  const md5s = Buffer.from(etag.slice(0, 32), 'hex');
  return {
    etag: `${createHash('md5').update(md5s).update(digests.MD5).digest('hex')}-${count}`,
    layout,
    ...(checksum && { checksum }),
  };
}

/** The parts of the old object; one that was not sent in parts is one. */
function layoutOf(core: Core, { row, ...found }: Found, going: ChecksumAlgorithm | undefined): Layout {
  const known = knowledge({ row, ...found }) === 'known';
  const old = known && row?.layout !== undefined ? core.catalog.index.layout(row.layout) : undefined;
  if (old) return old;
  const checksum = going && row?.checksum?.value;
  return { sizes: [[Number(found.stat.size), 1]], ...(checksum && { checksums: [checksum] }) };
}

/** @param checksum of the new part; without it those of the others are of no use. */
function longer(old: Layout, size: number, checksum: string | undefined): Layout {
  const layout: Layout = { sizes: [...old.sizes, [size, 1]] };
  if (old.numbers) layout.numbers = [...old.numbers, (old.numbers.at(-1) ?? 0) + 1];
  if (old.checksums && checksum !== undefined) layout.checksums = [...old.checksums, checksum];
  return layout;
}

/** A full-object CRC goes on over the piece, a composite one over its digest; others cannot. */
function goneOn(
  old: Checksum,
  { checksums }: Layout,
  before: Found,
  added: { value: string; size: number },
): Checksum | undefined {
  const { algorithm } = old;
  if (old.type === 'COMPOSITE') return checksums && { ...old, value: compositeChecksum(algorithm, checksums) };
  const crc = combinable(algorithm);
  if (!crc) return undefined;
  return { ...old, value: combineChecksums(crc, [{ value: old.value, size: Number(before.stat.size) }, added]) };
}

function combinable(algorithm: ChecksumAlgorithm): 'CRC32' | 'CRC32C' | 'CRC64NVME' | undefined {
  return algorithm === 'CRC32' || algorithm === 'CRC32C' || algorithm === 'CRC64NVME' ? algorithm : undefined;
}
