/** Where an object is found, as a client can reach it: the Location that S3 answers uploads with. */
import { encodeKey } from '../wire/keys.js';
import type { OpContext, OpInput } from './types.js';

/**
 * The object's URL in the style of the request: `http://host/bucket/key`, or `http://bucket.host/key`. With --public-url it is below that address,
 * or below `bucket.` before its host where the client came that way.
 */
export function objectUrl(
  ctx: OpContext,
  { bucket, key, headers }: Pick<OpInput, 'bucket' | 'key' | 'headers'>,
): string {
  const { publicUrl } = ctx.service;
  const host = headers.host ?? 'localhost';
  const inBucket = `/${encodeKey(bucket, false)}/${encodeKey(key)}`;
  if (publicUrl === undefined) {
    const origin = `${ctx.secure === true ? 'https' : 'http'}://${host}`;
    return origin + (ctx.virtualHosted === true ? `/${encodeKey(key)}` : inBucket);
  }
  const { protocol, hostname, port, pathname } = new URL(publicUrl);
  const asked = host.replace(/:\d*$/, '').toLowerCase();
  if (ctx.virtualHosted !== true || asked !== `${bucket}.${hostname}`) return publicUrl + inBucket;
  const path = pathname.replace(/\/$/, '');
  return `${protocol}//${asked}${port === '' ? '' : `:${port}`}${path}/${encodeKey(key)}`;
}
