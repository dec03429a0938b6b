/** The two ways in which S3 writes a time, and how it reads one. Times are milliseconds since 1970. */

/** Years 1 to 9999: neither format can carry others, and a file's mtime may be anything. */
const MIN = Date.parse('0001-01-01T00:00:00Z');
const MAX = Date.parse('9999-12-31T23:59:59.999Z');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function toDate(ms: number): Date {
  return new Date(Number.isFinite(ms) ? Math.min(Math.max(Math.floor(ms), MIN), MAX) : 0);
}

/** IMF-fixdate (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`; the fraction of the second is cut. */
export function httpDate(ms: number): string {
  return toDate(ms).toUTCString();
}

/** `YYYY-MM-DDTHH:mm:ss.sssZ` */
export function isoDate(ms: number): string {
  return toDate(ms).toISOString();
}

const TIME = '(\\d{2}):(\\d{2}):(\\d{2})';
const IMF = new RegExp(`^[A-Za-z]{3}, (\\d{1,2}) ([A-Za-z]{3}) (\\d{4}) ${TIME} (?:GMT|UTC|[+-]0000)$`);
const RFC850 = new RegExp(`^[A-Za-z]{6,9}, (\\d{2})-([A-Za-z]{3})-(\\d{2}) ${TIME} GMT$`);
const ASCTIME = new RegExp(`^[A-Za-z]{3} ([A-Za-z]{3}) ([ \\d]\\d) ${TIME} (\\d{4})$`);
const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?Z$/;

/**
 * Reads an HTTP date in all three forms of RFC 9110 section 5.6.7, or an ISO 8601 time in UTC (some SDKs send it).
 * Undefined for anything else, as the RFC wants invalid dates in conditions to be ignored.
 */
export function parseHttpDate(s: string): number | undefined {
  const text = s.trim();
  const imf = IMF.exec(text);
  if (imf !== null) return assemble(Number(imf[3]), imf[2], imf[1], imf.slice(4, 7));
  const rfc850 = RFC850.exec(text);
  if (rfc850 !== null) return assemble(fullYear(Number(rfc850[3])), rfc850[2], rfc850[1], rfc850.slice(4, 7));
  const asctime = ASCTIME.exec(text);
  if (asctime !== null) return assemble(Number(asctime[6]), asctime[1], asctime[2], asctime.slice(3, 6));
  if (!ISO.test(text)) return undefined;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** A year of two digits that seems more than 50 years ahead is in the past (RFC 9110 section 5.6.7). */
function fullYear(yy: number): number {
  const now = new Date().getUTCFullYear();
  const year = now - (now % 100) + yy;
  return year > now + 50 ? year - 100 : year;
}

function assemble(
  year: number,
  month: string | undefined,
  day: string | undefined,
  time: string[],
): number | undefined {
  const m = MONTHS.findIndex((name) => name.toLowerCase() === month?.toLowerCase());
  const [hours = 0, minutes = 0, seconds = 0] = time.map(Number);
  const d = Number(day);
  if (m < 0 || hours > 23 || minutes > 59 || seconds > 60) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, m, d);
  if (date.getUTCMonth() !== m || date.getUTCDate() !== d) return undefined;
  date.setUTCHours(hours, minutes, seconds);
  return date.getTime();
}
