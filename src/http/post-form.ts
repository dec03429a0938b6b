/** A browser's upload form (PostObject): its fields stand for headers and signature, its last part is the body. */
import type { Keyring } from '../auth/keyring.js';
import { authenticatePost, type SizeRange } from '../auth/post.js';
import type { Identity, PayloadMode, Signature } from '../auth/types.js';
import type { AuthOptions } from '../auth/verify.js';
import { S3Error } from '../base/errors.js';
import type { Body } from '../base/model.js';
import { readForm } from '../wire/form.js';
import { checkKey } from '../wire/keys.js';
import type { Headers } from './request.js';

export interface PostForm {
  identity: Identity;
  /** Its signature covers what it allows, not the bytes. */
  payload: PayloadMode;
  signature?: Signature;
  key: string;
  /** Of the request, with those that the fields stand for in place of its own `x-amz-*` and `content-*`. */
  headers: Headers;
  body: Body;
}

/**
 * Reads the form up to its file and judges its policy.
 * @throws InvalidArgument without a key, and what {@link readForm} and {@link authenticatePost} throw.
 */
export async function openPostForm(
  chunks: AsyncIterable<Uint8Array>,
  headers: Headers,
  bucket: string,
  keyring: Keyring,
  options: AuthOptions,
): Promise<PostForm> {
  const form = await readForm(chunks, headers['content-type']);
  const fields = new Map(form.fields);
  const written = fields.get('key');
  if (written === undefined || written === '')
    throw new S3Error(
      'InvalidArgument',
      "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
      {
        data: { ArgumentName: 'key', ArgumentValue: '' },
      },
    );
  // Completed first: the conditions are to hold for the key that there will be.
  const key = written.replaceAll('${filename}', () => form.filename);
  checkKey(key);
  fields.set('key', key);
  const { identity, signature, size } = authenticatePost(bucket, fields, keyring, options);
  return {
    identity,
    payload: { kind: 'unsigned' },
    ...(signature && { signature }),
    key,
    headers: fieldHeaders(headers, fields),
    body: { chunks: size === undefined ? form.chunks : limited(form.chunks, size) },
  };
}

/** Fields of the signature describe no object. */
const SIGNATURE: ReadonlySet<string> = new Set([
  'x-amz-algorithm',
  'x-amz-credential',
  'x-amz-date',
  'x-amz-security-token',
  'x-amz-signature',
]);
const PLAIN: ReadonlySet<string> = new Set([
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-md5',
  'content-type',
  'expires',
  'success_action_redirect',
  'success_action_status',
  'tagging',
]);

/** `acl` is x-amz-acl, `redirect` the old name of success_action_redirect (S3, "POST Object": form fields). */
function fieldHeaders(headers: Headers, fields: ReadonlyMap<string, string>): Headers {
  const own = Object.create(null) as Record<string, string | undefined>;
  for (const name in headers)
    if (!/^(x-amz-|content-|if-|authorization$|expires$|cache-control$|tagging$|success_action_)/.test(name))
      own[name] = headers[name];
  for (const [name, value] of fields) {
    const header = name === 'acl' ? 'x-amz-acl' : name === 'redirect' ? 'success_action_redirect' : name;
    const known = PLAIN.has(header) || (header.startsWith('x-amz-') && !SIGNATURE.has(header));
    // Headers are bytes as Latin-1 wherever they are read.
    if (known && own[header] === undefined) own[header] = Buffer.from(value).toString('latin1');
  }
  return own;
}

/** content-length-range counts the bytes of the file alone. @throws EntityTooLarge, EntityTooSmall. */
async function* limited(chunks: AsyncIterable<Uint8Array>, { min, max }: SizeRange): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const chunk of chunks) {
    size += chunk.length;
    if (size > max)
      throw new S3Error('EntityTooLarge', undefined, { data: { ProposedSize: size, MaxSizeAllowed: max } });
    yield chunk;
  }
  if (size < min) throw new S3Error('EntityTooSmall', undefined, { data: { ProposedSize: size, MinSizeAllowed: min } });
}
