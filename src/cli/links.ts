/** Links and forms that work without credentials, for the address that clients use. */
import { signPost, type SizeRange } from '../auth/post.js';
import { presignUrl } from '../auth/presign.js';
import type { Credential } from '../auth/types.js';
import { encodeKey } from '../wire/keys.js';
import type { ObjectTarget } from './target.js';

export interface Address {
  /** `https://s3.example.com` */
  origin: string;
  /** `/s3` or ''; whoever stands before the server takes it away, so it is not signed. */
  path: string;
  virtualHost: boolean;
}

export interface LinkInput {
  target: ObjectTarget;
  credential: Pick<Credential, 'accessKey' | 'secretKey'>;
  region: string;
  /** Seconds. */
  expires: number;
  contentType?: string;
}

export interface Link {
  url: string;
  method: string;
  /** Must be sent with exactly these values. */
  headers: Record<string, string>;
}

export function makeLink(address: Address, method: string, input: LinkInput): Link {
  const { target, contentType, credential, region, expires } = input;
  const { origin, place } = locate(address, target.bucket);
  const reads = method === 'GET' || method === 'HEAD';
  const headers: Record<string, string> =
    contentType === undefined || method !== 'PUT' ? {} : { 'content-type': contentType };
  const query = contentType !== undefined && reads ? `?response-content-type=${encodeURIComponent(contentType)}` : '';
  const plain = `${origin}${place}/${encodeKey(target.key)}${query}`;
  const signed = presignUrl({ method, url: plain, credential, region, expires, headers });
  return { url: origin + address.path + signed.slice(origin.length), method, headers };
}

export interface Form {
  url: string;
  fields: Record<string, string>;
}

/** A key that is empty or ends in `/` is completed by the uploader's file name. */
export function makeForm(address: Address, input: LinkInput & { size?: SizeRange }): Form {
  const { target, contentType, credential, region, expires, size } = input;
  const { origin, place } = locate(address, target.bucket);
  const fields = signPost({
    bucket: target.bucket,
    key: /(^|\/)$/.test(target.key) ? `${target.key}\${filename}` : target.key,
    credential,
    region,
    expires,
    ...(contentType === undefined ? {} : { fields: { 'Content-Type': contentType } }),
    ...(size === undefined ? {} : { size }),
  });
  return { url: `${origin}${address.path}${place === '' ? '/' : place}`, fields };
}

function locate(address: Address, bucket: string): { origin: string; place: string } {
  if (!address.virtualHost) return { origin: address.origin, place: `/${encodeKey(bucket)}` };
  return { origin: address.origin.replace('://', `://${bucket}.`), place: '' };
}
