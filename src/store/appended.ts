/** What is known of the bytes of an object once a piece is behind them: nothing is read again but the piece. */
import { open } from 'node:fs/promises';
import { S3Error } from '../base/errors.js';
import type { Checksum, ChecksumAlgorithm, DigestPlan, Digests } from '../base/model.js';
import { partCount } from '../catalog/catalog.js';
import { MAX_PARTS, grownLayout, type Old } from '../catalog/grown.js';
import type { ByteFacts } from '../catalog/lines.js';
import type { Layout } from '../catalog/rows.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import type { Staged } from '../fs/stage.js';
import { combineChecksums, compositeChecksum } from '../wire/checksums.js';
import type { Core, Found } from './core.js';
import { knowledge } from './describe.js';
import { etagAppended } from './etag.js';
import { storedChecksum } from './objects.js';

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
 * The parts of the old object keep their numbers, the piece is the next one. What nobody has hashed stays so: its ETag goes on being derived.
 * @param digests of the piece. @throws InvalidRequest if there are too many pieces.
 */
export function appendedFacts(
  core: Core,
  before: Found,
  added: { size: number; digests: Digests },
  plan: DigestPlan,
): Omit<ByteFacts, 'fp'> {
  const { digests } = added;
  const going = algorithmOf(before);
  if (before.stat.size === 0n) {
    const { checksum } = storedChecksum(going ? { algorithms: [going], store: going } : plan, digests);
    return { etag: digests.MD5.toString('hex'), ...(checksum && { checksum }) };
  }
  const { row } = before;
  if (!row || knowledge(before) !== 'known') return { etag: '' };
  const piece = { size: added.size, checksum: going && digests[going]?.toString('base64') };
  const old = { ...core.catalog.bytesOf(row), size: Number(before.stat.size) };
  const layout = grownLayout(old, piece);
  const count = partCount(layout);
  if (count > MAX_PARTS)
    throw new S3Error('InvalidRequest', 'The object was appended to 10,000 times; copy it before going on.');
  const checksum = goneOn(old, layout, piece);
  const etag = etagAppended(row.etag, digests.MD5.toString('hex'), count);
  return { etag, layout, ...(checksum && { checksum }), ...(row.unproven && { unproven: true }) };
}

/** A full-object CRC goes on over the piece, a composite one over its digest; others cannot. */
function goneOn(
  { checksum: old, size }: Old,
  { checksums }: Layout,
  piece: { checksum: string | undefined; size: number },
): Checksum | undefined {
  if (!old || piece.checksum === undefined) return undefined;
  const { algorithm } = old;
  if (old.type === 'COMPOSITE') return checksums && { ...old, value: compositeChecksum(algorithm, checksums) };
  const crc = combinable(algorithm);
  if (!crc) return undefined;
  const pieces = [
    { value: old.value, size },
    { value: piece.checksum, size: piece.size },
  ];
  return { ...old, value: combineChecksums(crc, pieces) };
}

function combinable(algorithm: ChecksumAlgorithm): 'CRC32' | 'CRC32C' | 'CRC64NVME' | undefined {
  return algorithm === 'CRC32' || algorithm === 'CRC32C' || algorithm === 'CRC64NVME' ? algorithm : undefined;
}
