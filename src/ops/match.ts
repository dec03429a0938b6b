/** Finds the operation of a request in the table. */
import type { Level, Operation } from './types.js';

/** A sub-resource says more than a header: `PUT key?tagging` stays what it is beside a stray x-amz-copy-source. */
function specificity(row: Operation): number {
  return 2 * (row.query?.length ?? 0) + (row.header === undefined ? 0 : 1);
}

/** Rows by method and level, those that ask for most first; the order of the table among equals. */
function index(rows: readonly Operation[]): Map<string, Operation[]> {
  const byRoute = new Map<string, Operation[]>();
  for (const row of rows) {
    const route = `${row.method} ${row.level}`;
    const list = byRoute.get(route);
    if (list === undefined) byRoute.set(route, [row]);
    else list.push(row);
  }
  for (const list of byRoute.values()) list.sort((a, b) => specificity(b) - specificity(a));
  return byRoute;
}

/** Query parameters that choose an operation. The first one of a row names it, the others refine. */
function subResources(rows: readonly Operation[], level: Level): Set<string> {
  return new Set(
    rows.flatMap((row) => {
      const first = row.query?.[0];
      return row.level !== level || first === undefined || first.includes('=') ? [] : [first];
    }),
  );
}

/**
 * Finds the row that fits a request best. Parameters unknown to S3 are ignored (SDKs send `x-id`, people add their own).
 * @returns `method-not-allowed` when a sub-resource is named that S3 does not have there with this method - `DELETE key?acl` must not
 *   delete the key -, undefined when the method is none of S3's at this level at all.
 */
export type Matcher = (
  method: string,
  level: Level,
  query: ReadonlyMap<string, string>,
  headers: Readonly<Record<string, string | undefined>>,
) => Operation | 'method-not-allowed' | undefined;

export function makeMatcher(operations: readonly Operation[]): Matcher {
  const byRoute = index(operations);
  const known: Readonly<Record<Level, ReadonlySet<string>>> = {
    service: new Set(),
    bucket: subResources(operations, 'bucket'),
    object: subResources(operations, 'object'),
  };
  const anywhere: ReadonlySet<string> = new Set([...known.bucket, ...known.object]);
  return (method, level, query, headers) => {
    const rows = byRoute.get(`${method} ${level}`);
    if (rows === undefined) return undefined;
    const found = rows.find((row) => fits(row, query, headers));
    if (query.size > 0 && found?.query === undefined && method !== 'HEAD') {
      // A stray sub-resource of the other level spoils only what would change something.
      const names = method === 'GET' ? known[level] : anywhere;
      for (const name of query.keys()) if (names.has(name)) return 'method-not-allowed';
    }
    return found ?? 'method-not-allowed';
  };
}

function fits(
  row: Operation,
  query: ReadonlyMap<string, string>,
  headers: Readonly<Record<string, string | undefined>>,
): boolean {
  if (row.header !== undefined && headers[row.header] === undefined) return false;
  if (row.query === undefined) return true;
  return row.query.every((wanted) => {
    const equals = wanted.indexOf('=');
    return equals < 0 ? query.has(wanted) : query.get(wanted.slice(0, equals)) === wanted.slice(equals + 1);
  });
}
