/** What `stat` tells, as data and as lines. */
import type { Acl, Tags } from '../base/model.js';
import type { Bucket, ObjectInfo } from '../store/contract.js';
import { isoDate } from '../wire/dates.js';
import { localTime } from './listing.js';
import { humanSize, printable } from './output.js';

/** Members in the order in which they are shown; a member that is undefined is not. */
export type Known = Readonly<Record<string, unknown>>;

export function objectFacts(info: ObjectInfo): Known {
  const { bucket, key, size, etag, aliases, lastModified, checksum, partCount } = info;
  const { tags, acl, owner, contentType = 'binary/octet-stream', metadata, ...facts } = info.facts;
  return {
    bucket,
    key,
    size,
    lastModified: isoDate(lastModified),
    etag,
    formerEtags: aliases,
    contentType,
    ...facts,
    metadata,
    tags: tags && tagRecord(tags),
    checksum,
    parts: partCount,
    owner,
    grants: acl && grants(acl),
  };
}

export function bucketFacts({ name, created, settings }: Bucket): Known {
  const { created: _created, tags, policy, acl, ...others } = settings;
  return {
    bucket: name,
    created: isoDate(created),
    ...others,
    tags: tags && tagRecord(tags),
    grants: acl && grants(acl),
    policy: policy === undefined ? undefined : (JSON.parse(policy) as unknown),
  };
}

/** `Last modified   2026-11-21 14:05`: names in a column, values on one line each. */
export function lines(known: Known): string[] {
  const shown = Object.entries(known).flatMap(([name, value]) =>
    value === undefined
      ? []
      : isRecord(value) && name !== 'policy'
        ? nested(name, value)
        : [[title(name), scalar(name, value)]],
  );
  const width = Math.max(...shown.map(([name = '']) => name.length));
  return shown.map(([name = '', value = '']) => `${printable(name).padEnd(width)}  ${printable(value)}`.trimEnd());
}

function nested(name: string, value: Record<string, unknown>): string[][] {
  if (name === 'owner') return [[title(name), String(value['displayName'] ?? value['id'])]];
  if (name === 'checksum') return [[title(name), `${String(value['algorithm'])} ${String(value['value'])}`]];
  return Object.entries(value).map(([key, item]) => [
    `${title(name)} ${key}`,
    typeof item === 'string' ? item : JSON.stringify(item),
  ]);
}

function scalar(name: string, value: unknown): string {
  if (name === 'size' && typeof value === 'number')
    return value < 1000 ? humanSize(value) : `${humanSize(value)} (${value} B)`;
  if ((name === 'lastModified' || name === 'created') && typeof value === 'string') return localTime(Date.parse(value));
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value.join(', ');
  return typeof value === 'string' || typeof value === 'number' ? String(value) : JSON.stringify(value);
}

/** `lastModified` -> `Last modified`. */
function title(name: string): string {
  if (name === 'etag') return 'ETag';
  const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function tagRecord(tags: Tags): Record<string, string> {
  return Object.fromEntries(tags);
}

function grants(acl: Acl): string[] {
  return acl.grants.map(({ grantee, permission }) => {
    const who =
      grantee.type === 'CanonicalUser'
        ? (grantee.displayName ?? grantee.id)
        : grantee.type === 'Group'
          ? grantee.uri
          : grantee.email;
    return `${who} ${permission}`;
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
