/** Values of settings as people write them. Each parser throws an Error whose message follows the value: `"x" is no port; …`. */

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1024,
  kib: 1024,
  kb: 1e3,
  m: 1024 ** 2,
  mib: 1024 ** 2,
  mb: 1e6,
  g: 1024 ** 3,
  gib: 1024 ** 3,
  gb: 1e9,
  t: 1024 ** 4,
  tib: 1024 ** 4,
  tb: 1e12,
};
const TIMES: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 60e3, min: 60e3, h: 3600e3, d: 86400e3 };

/** `5MiB`, `64M`, `1.5GB`, `1048576` -> bytes. K, M, G, T are powers of 1024; KB, MB, GB, TB of 1000. */
export function size(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = unit === undefined ? undefined : UNITS[unit.toLowerCase()];
  const bytes = digits === undefined || factor === undefined ? NaN : Math.round(Number(digits) * factor);
  if (!Number.isSafeInteger(bytes)) throw new Error('is no size; write it like 64MiB, 1.5GB or 1048576');
  return bytes;
}

/** A size, or a share of the disk: `1GiB`, `5%`. */
export function share(text: string): { bytes: number } | { percent: number } {
  const percent = /^(\d+(?:\.\d+)?)\s*%$/.exec(text.trim())?.[1];
  if (percent === undefined) {
    try {
      return { bytes: size(text) };
    } catch {
      throw new Error('is no size; write it like 1GiB or 5%');
    }
  }
  if (Number(percent) > 100) throw new Error('is more than all of the disk; write it like 5%');
  return { percent: Number(percent) };
}

/** `500ms`, `30s`, `5m`, `2h` -> ms. A bare number is seconds. */
export function duration(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim()) ?? [];
  const factor = unit === undefined ? undefined : TIMES[unit.toLowerCase() || 's'];
  if (digits === undefined || factor === undefined) throw new Error('is no time; write it like 30s, 5m or 500ms');
  return Math.round(Number(digits) * factor);
}

/** A time whose unit somebody may forget who thinks of days: `7` is no seven seconds. 0 needs none. */
export function age(text: string): number {
  if (/^\s*[\d.]*[1-9][\d.]*\s*$/.test(text)) throw new Error('has no unit; write it like 7d, 12h or 30m');
  return duration(text);
}

export function port(text: string): number {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (!(number <= 65535)) throw new Error('is no port; give a number from 0 to 65535');
  return number;
}

/** How many processes. */
export function processes(text: string): number {
  const number = /^\d{1,3}$/.test(text) ? Number(text) : NaN;
  if (!(number >= 1 && number <= 64)) throw new Error('is no number of processes; give 1 to 64');
  return number;
}

/** How many requests; 0 for any number. */
export function requests(text: string): number {
  if (!/^\d{1,7}$/.test(text)) throw new Error('is no number of requests; give 1 or more, or 0 for no limit');
  return Number(text);
}

/** A umask in octal: `022`, `0o077`. */
export function octal(text: string): number {
  const digits = /^(?:0o)?([0-7]{1,4})$/.exec(text)?.[1];
  const mask = digits === undefined ? NaN : Number.parseInt(digits, 8);
  if (!(mask <= 0o777)) throw new Error('is no umask; give octal digits like 022');
  return mask;
}

/** `alias=path`. */
export function pair(text: string): [alias: string, path: string] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new Error('is no alias=path; write it like films=media/films');
  return [text.slice(0, at), text.slice(at + 1)];
}

/** What is wrong with a list of aliases: one that names two folders. */
export function repeatedAlias(pairs: readonly unknown[]): string | undefined {
  const folders = new Map<string, string>();
  for (const [alias, path] of pairs as ReturnType<typeof pair>[]) {
    const other = folders.get(alias);
    if (other !== undefined) return `"${alias}" is given twice, as ${other} and as ${path}; give each alias one folder`;
    folders.set(alias, path);
  }
  return undefined;
}

export function text(value: string): string {
  if (value === '') throw new Error('is empty');
  if (value.includes('\0')) throw new Error('holds a NUL character');
  return value;
}

/** An access key id; it stands before a `/` in credential scopes and before a `,` in Authorization, so it can hold neither. */
export function keyId(value: string): string {
  if (/[/,=]/.test(value)) throw new Error('must hold no /, comma or =');
  return keyPart(value);
}

/** A secret key. */
export function keyPart(value: string): string {
  if (!/^[\x21-\x7e]+$/.test(value)) throw new Error('must be printable ASCII without spaces');
  return value;
}

export function region(value: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,62}$/i.test(value)) throw new Error('is no region; write it like us-east-1');
  return value;
}

/** A host name, in lower case: `s3.example.com`. Names of containers have underscores. */
export function domain(value: string): string {
  const name = value.toLowerCase();
  if (
    name.length > 253 ||
    !/^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/.test(name)
  )
    throw new Error('is no domain; write it like s3.example.com');
  return name;
}

/** An http(s) origin, without a trailing slash. */
export function url(value: string): string {
  const parsed = URL.canParse(value) ? new URL(value) : undefined;
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw new Error('is no URL; write it like https://s3.example.com');
  if (parsed.search || parsed.hash || parsed.pathname !== '/')
    throw new Error('must be scheme, host and port only, like https://s3.example.com: a path would break signatures');
  return parsed.origin;
}

export function choice<const T extends string>(...allowed: T[]): (value: string) => T {
  return (value) => {
    const found = allowed.find((item) => item === value.toLowerCase());
    if (found === undefined) throw new Error(`is none of ${allowed.join(', ')}`);
    return found;
  };
}

export function yesNo(written: string): boolean {
  if (/^(true|yes|on|1)$/i.test(written)) return true;
  if (/^(false|no|off|0)$/i.test(written)) return false;
  throw new Error('is neither true nor false');
}
