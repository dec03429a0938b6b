/**
 * Judges what clients were answered while another program (outside.js) changed the files: each answer must be what was there at some moment between
 * request and answer. Changes take time themselves, so that several states may be right.
 */
import { createHash } from 'node:crypto';
import { FILES, FIXED, FOLDERS, SIDES, contentOf, versionOf } from './outside-content.js';

/** [bucket, key] of all that ever may be there. */
export const KEYS: [string, string][] = [
  ...FOLDERS.flatMap((slot) => [slot, `${slot}-moved`]).flatMap((folder) => [
    ['box', folder] as [string, string],
    ...FILES.map((file): [string, string] => ['box', `${folder}/${file}`]),
  ]),
  ...FIXED.map((file): [string, string] => ['box', `fixed/${file}`]),
  ...SIDES.flatMap((bucket) => FIXED.map((file): [string, string] => [bucket, file])),
];

/** What was seen of one key: a whole body, or what HEAD and LIST tell. */
export interface Sight {
  bucket: string;
  key: string;
  begin: number;
  end: number;
  how: 'GET' | 'HEAD' | 'LIST';
  /** Absent if nothing was there. */
  etag?: string;
  length?: number;
  /** GET: version of the bytes, `?` if they are mixed; '' for no bytes. */
  version?: string;
}
export interface Change {
  /** Name of the way, for whoever reads what went wrong. */
  what: string;
  start: number;
  end: number;
  changes: [bucket: string, key: string, state: string | null][];
  loose?: string;
}

const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

/** The version of a body, if it is the beginning of one and has its MD5. */
export function bodyOf(body: Buffer, length: number, etag: string): string {
  if (body.length !== length || (!etag.includes('-') && md5(body) !== etag)) return '?';
  if (body.length === 0) return '';
  const version = versionOf(body);
  return version !== undefined && contentOf(version).subarray(0, body.length).equals(body) ? version : '?';
}

/** A state of a key, from when it may have been there until when it must have gone. */
interface Period {
  what: string;
  from: number;
  settled: number;
  until: number;
  state: string | null;
  loose?: string;
}

function periodsOf(changes: Change[]): Map<string, Period[]> {
  const periods = new Map<string, Period[]>();
  const begin = (name: string, state: string | null): void => {
    periods.set(name, [{ what: 'at first', from: -Infinity, settled: -Infinity, until: Infinity, state }]);
  };
  for (const [bucket, key] of KEYS) begin(`${bucket}/${key}`, null);
  for (const file of FIXED)
    for (const folder of ['box/fixed', SIDES[0] ?? '']) begin(`${folder}/${file}`, `${file}/${contentOf(file).length}`);
  for (const { what, start, end, changes: each, loose } of changes) {
    for (const [bucket, key, state] of each) {
      const list = periods.get(`${bucket}/${key}`) ?? [];
      const last = list.at(-1);
      if (last) last.until = end;
      list.push({ what, from: start, settled: end, until: Infinity, state, ...(loose !== undefined && { loose }) });
    }
  }
  return periods;
}

/** @returns what was told although it was not so, at most ten. */
export function wrong(sights: Sight[], changes: Change[]): string[] {
  const periods = periodsOf(changes);
  const derived = new Map<string, string>();
  const found: string[] = [];
  for (const { how, etag, version, length } of sights) {
    // an ETag that is no MD5 says nothing by itself, but that it belongs to one state only
    if (how !== 'GET' || version === undefined || !etag?.includes('-')) continue;
    const known = derived.get(etag) ?? `${version}/${length}`;
    if (known !== `${version}/${length}`) found.push(`${etag} is told of ${version}/${length} and ${known}`);
    derived.set(etag, known);
  }
  for (const sight of sights) {
    const near = (periods.get(`${sight.bucket}/${sight.key}`) ?? []).filter(
      ({ from, until }) => from <= sight.end && until >= sight.begin,
    );
    const [version] = derived.get(sight.etag ?? '')?.split('/') ?? [];
    const full = version === undefined ? sight : { ...sight, version };
    if (!near.some((period) => explains(period, full))) found.push(told(full, near, periods));
  }
  return found.slice(0, 10);
}

/** With what was there before, in short. */
function told(sight: Sight, near: Period[], periods: Map<string, Period[]>): string {
  const all = periods.get(`${sight.bucket}/${sight.key}`) ?? [];
  const first = near[0] ? all.indexOf(near[0]) : 0;
  const ms = (time: number): string => ((time - sight.begin) / 1e6).toFixed(1);
  const lines = all.slice(Math.max(0, first - 4), first + near.length).map(({ what, from, until, state }) => {
    const [id = '', size] = state?.split('/') ?? [];
    const etag = state === null ? '' : md5(contentOf(id).subarray(0, Number(size))).slice(0, 6);
    return `${what} ${ms(from)}..${ms(until)} ms: ${state} ${etag}`;
  });
  return `${JSON.stringify(sight)} of ${ms(sight.end)} ms, but there was ${lines.join('; ')}`;
}

function explains({ state, loose, settled }: Period, { etag, length, version, begin }: Sight): boolean {
  if (etag === undefined || length === undefined) return state === null;
  const matches = (id: string): boolean =>
    (version === undefined || version === id || (length === 0 && version === '')) &&
    (etag.includes('-') || etag === md5(contentOf(id).subarray(0, length)));
  // while it was being written
  if (loose !== undefined && begin <= settled && matches(loose)) return true;
  const [id = '', size] = state?.split('/') ?? [];
  return state !== null && Number(size) === length && matches(id);
}
