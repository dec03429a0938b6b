/**
 * Headers that travel in the query of a presigned URL. Presigners that cannot know which headers the upload will be sent with
 * (the SDK for JavaScript by default) move `x-amz-*` headers there; S3 takes them for headers, and the signature covers them.
 */
import { S3Error } from '../base/errors.js';
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm } from '../base/model.js';
import { createHasher, prepareHashes } from '../fs/hash.js';
import { checksumHeaderName } from '../wire/checksums.js';
import type { Headers } from './request.js';

/** Parameters of the signature itself, and what describes the presigner's own request, not the one that is sent. */
const OWN: ReadonlySet<string> = new Set([
  'x-amz-algorithm',
  'x-amz-content-sha256',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-expires',
  'x-amz-security-token',
  'x-amz-sdk-checksum-algorithm',
  'x-amz-signature',
  'x-amz-signedheaders',
  'x-amz-user-agent',
]);

/**
 * The headers of a presigned request with those of its query among them; a header that was sent (and so is signed) goes first.
 *
 * A checksum of no bytes is left out: presigners that had no body at hand sign that one, and S3 lets the upload through.
 * @param query decoded.
 * @throws InvalidArgument for a value that no header can have.
 */
export function withHoisted(headers: Headers, query: ReadonlyMap<string, string>): Headers | Promise<Headers> {
  let plain = nothingHoisted.get(query);
  if (plain === undefined) nothingHoisted.set(query, (plain = ![...query.keys()].some(isHoisted)));
  return plain ? headers : hoist(headers, query);
}

/** Of queries that were looked at before: whether no header travels in them. */
const nothingHoisted = new WeakMap<ReadonlyMap<string, string>, boolean>();

function isHoisted(parameter: string): boolean {
  const name = parameter.toLowerCase();
  return name.startsWith('x-amz-') && !OWN.has(name);
}

async function hoist(headers: Headers, query: ReadonlyMap<string, string>): Promise<Headers> {
  let found: Record<string, string | undefined> | undefined;
  for (const [parameter, value] of query) {
    const name = parameter.toLowerCase();
    if (!isHoisted(parameter) || headers[name] !== undefined) continue;
    if ((await emptyChecksums()).get(name) === value) continue;
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) {
      throw new S3Error('InvalidArgument', `The value of ${name} cannot be that of a header.`, {
        data: { ArgumentName: name, ArgumentValue: value },
      });
    }
    found ??= Object.assign(Object.create(null) as Record<string, string | undefined>, headers);
    // Header values are the bytes of the wire as latin1.
    found[name] ??= Buffer.from(value, 'utf8').toString('latin1');
  }
  return found ?? headers;
}

let known: Promise<ReadonlyMap<string, string>> | undefined;

/** Header name -> digest of no bytes in base64. */
function emptyChecksums(): Promise<ReadonlyMap<string, string>> {
  known ??= prepareHashes().then(() => {
    const digests = createHasher(CHECKSUM_ALGORITHMS).digest();
    const entry = (a: ChecksumAlgorithm): [string, string] => [
      checksumHeaderName(a),
      digests[a]?.toString('base64') ?? '',
    ];
    return new Map(CHECKSUM_ALGORITHMS.map(entry));
  });
  return known;
}
