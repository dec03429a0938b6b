/** CopyObject. The store clones or copies; this file decides what the copy is called and what is said of it. */
import { S3Error } from '../base/errors.js';
import { CHECKSUM_ALGORITHMS, type ChecksumAlgorithm, type KeyFacts } from '../base/model.js';
import type { CopyOptions, ObjectInfo } from '../store/contract.js';
import { checksumElements } from '../wire/checksums.js';
import { checkRead, copySourceConditions, writeConditions } from '../wire/conditions.js';
import { isoDate, readFacts } from '../wire/headers.js';
import { checkKey, parseCopySource } from '../wire/keys.js';
import { el } from '../wire/xml.js';
import { checkExpectedOwner } from './authorize.js';
import { checkVersion, MAX_SINGLE, quoted, refuseEncryption, refuseLock, without } from './input.js';
import { rootOwner, writeOwnership } from './owners.js';
import { patiently } from './patience.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function copyObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { headers, bucket, key } = input;
  checkKey(key);
  refuseEncryption(headers);
  refuseLock(headers);
  const from = await copySource(ctx, input);
  const facts = copyFacts(ctx, input);
  if (from.bucket === bucket && from.key === key && !changesItself(input)) {
    throw new S3Error(
      'InvalidRequest',
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  const conditions = copySourceConditions(headers);
  const condition = writeConditions(headers);
  const checksum = checksumAlgorithm(headers['x-amz-checksum-algorithm']);
  const options: CopyOptions = {
    facts: (source) => {
      if (source.size > MAX_SINGLE) {
        throw new S3Error(
          'InvalidRequest',
          `The specified copy source is larger than the maximum allowable size for a copy source: ${MAX_SINGLE}`,
        );
      }
      checkRead(conditions, source, 'copy');
      return facts(source);
    },
    via: ctx.via,
    ...(condition === undefined ? {} : { condition }),
    ...(checksum === undefined ? {} : { checksum }),
  };
  const info = await patiently(ctx, () => ctx.store.copy(from, { bucket, key }, options));
  return {
    xml: el('CopyObjectResult', [
      el('LastModified', isoDate(info.lastModified)),
      el('ETag', quoted(info.etag)),
      ...(info.checksum === undefined ? [] : checksumElements(info.checksum)),
    ]),
  };
}

/** The source that x-amz-copy-source names; that the caller may read it is in its row. @throws AccessDenied, NoSuchBucket, NoSuchVersion. */
export async function copySource(ctx: OpContext, input: OpInput): Promise<{ bucket: string; key: string }> {
  const { bucket, key, versionId } = parseCopySource(input.headers['x-amz-copy-source'] ?? '');
  const expected = input.headers['x-amz-source-expected-bucket-owner'];
  if (expected !== undefined) {
    checkExpectedOwner(expected, (await ctx.store.getBucket(bucket)).settings.owner ?? rootOwner(ctx.service));
  }
  checkVersion(versionId, key);
  return { bucket, key };
}

function directive(input: OpInput, name: 'metadata' | 'tagging'): 'COPY' | 'REPLACE' {
  const header = `x-amz-${name}-directive`;
  const value = input.headers[header];
  if (value === undefined || value === 'COPY') return 'COPY';
  if (value === 'REPLACE') return value;
  throw new S3Error('InvalidArgument', `Unknown ${name} directive.`, {
    data: { ArgumentName: header, ArgumentValue: value },
  });
}

function changesItself(input: OpInput): boolean {
  return (
    directive(input, 'metadata') === 'REPLACE' ||
    directive(input, 'tagging') === 'REPLACE' ||
    input.headers['x-amz-storage-class'] !== undefined ||
    input.headers['x-amz-website-redirect-location'] !== undefined ||
    input.headers['x-amz-checksum-algorithm'] !== undefined
  );
}

/** Facts of the copy: metadata and tags by their directives; ACL, storage class and redirect never come from the source. */
function copyFacts(ctx: OpContext, input: OpInput): (source: ObjectInfo) => KeyFacts {
  const given = readFacts(input.headers);
  const ownership = writeOwnership(ctx, input);
  const metadata = directive(input, 'metadata');
  const tagging = directive(input, 'tagging');
  return (source) => {
    const old = without(source.facts, 'tags', 'acl', 'owner', 'storageClass', 'websiteRedirect');
    const fresh = without(given, 'tags', 'storageClass', 'websiteRedirect');
    const { storageClass, websiteRedirect } = given;
    const tags = tagging === 'REPLACE' ? given.tags : source.facts.tags;
    return {
      ...(metadata === 'REPLACE' ? fresh : old),
      ...(tags === undefined ? {} : { tags }),
      ...(storageClass === undefined ? {} : { storageClass }),
      ...(websiteRedirect === undefined ? {} : { websiteRedirect }),
      ...ownership,
    };
  };
}

function checksumAlgorithm(name: string | undefined): ChecksumAlgorithm | undefined {
  if (name === undefined) return undefined;
  const known = CHECKSUM_ALGORITHMS.find((algorithm) => algorithm === name.toUpperCase());
  if (known === undefined) {
    throw new S3Error('InvalidRequest', 'Checksum algorithm provided is unsupported.');
  }
  return known;
}
