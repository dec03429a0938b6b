/** PostObject: an upload by a browser's form. The pipeline has read and judged the form; its fields come as headers. */
import { planDigests, checksumHeaders } from '../wire/checksums.js';
import { readFacts } from '../wire/headers.js';
import { encodeKey } from '../wire/keys.js';
import { el, renderXml } from '../wire/xml.js';
import { limitBody, quoted, refuseEncryption, refuseLock } from './input.js';
import { objectUrl } from './location.js';
import { writeOwnership } from './owners.js';
import { formTags, formText } from './rights.js';
import type { OpContext, OpInput, OpResult } from './types.js';

export async function postObject(ctx: OpContext, input: OpInput): Promise<OpResult> {
  const { bucket, key, headers } = input;
  refuseEncryption(headers);
  refuseLock(headers);
  const facts = { ...readFacts(headers), ...writeOwnership(ctx, input) };
  const tagging = headers.tagging;
  if (tagging !== undefined && tagging !== '') {
    facts.tags = formTags(input);
  }
  const info = await ctx.store.put(bucket, key, limitBody(input.body), {
    facts,
    digests: planDigests(headers, {}),
    via: { ...ctx.via, event: 'ObjectCreated:Post' },
  });
  const etag = quoted(info.etag);
  const sums = info.checksum === undefined ? {} : checksumHeaders(info.checksum);
  const redirect = redirection(headers.success_action_redirect, bucket, key, etag);
  if (redirect !== undefined) return { status: 303, headers: { ETag: etag, Location: redirect, ...sums } };
  const location = objectUrl(ctx, input);
  const answer = { headers: { ETag: etag, Location: location, ...sums } };
  switch (headers.success_action_status) {
    case '200':
      return answer;
    case '201':
      return {
        status: 201,
        headers: { ...answer.headers, 'Content-Type': 'application/xml' },
        text: postResponse(location, bucket, key, etag),
      };
    default:
      // S3: any other value counts for nothing.
      return { status: 204, ...answer };
  }
}

/** S3's document, which has no namespace. */
function postResponse(location: string, bucket: string, key: string, etag: string): string {
  const members = [el('Location', location), el('Bucket', bucket), el('Key', key), el('ETag', etag)];
  return renderXml(el('PostResponse', members), { xmlns: null });
}

/** The address to send the browser to; one that cannot be understood counts for nothing (S3, "POST Object"). */
function redirection(value: string | undefined, bucket: string, key: string, etag: string): string | undefined {
  const text = value === undefined ? '' : formText(value);
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return undefined;
  const target = new URL(text);
  const added = `bucket=${encodeKey(bucket, false)}&key=${encodeKey(key, false)}&etag=${encodeKey(etag, false)}`;
  target.search = target.search === '' ? added : `${target.search}&${added}`;
  return target.href;
}
