/**
 * Patterns of bucket policies: `*` is any text (slashes too), `?` one character, `${key}` the value of a condition key.
 * Source: IAM User Guide, "Policy elements: Variables and tags".
 */

/** Code points, or one of the two below: `?` is one character, also where UTF-16 has two units for it. */
type Glob = readonly number[];
const ANY_TEXT = -1;
const ANY_ONE = -2;

/** Values of condition keys, names in lower case. */
export type Values = ReadonlyMap<string, readonly string[]>;

export interface Pattern {
  readonly text: string;
  /** True if `*`, `?` or a variable makes it match more than one text. */
  readonly wild: boolean;
  /** False, too, when a variable has no value. */
  matches(value: string, values: Values): boolean;
}

export interface PatternOptions {
  /** `*` and `?` have their meaning; else they are themselves. */
  wildcards: boolean;
  /** `${…}` has its meaning: policies of version 2012-10-17. */
  variables: boolean;
  ignoreCase?: boolean;
}

export function compilePattern(text: string, options: PatternOptions): Pattern {
  const fold = (s: string): string => (options.ignoreCase === true ? s.toLowerCase() : s);
  const hasVariables = options.variables && text.includes('${');
  const wild = hasVariables || (options.wildcards && /[*?]/.test(text));
  if (!wild) {
    const expected = fold(text);
    return { text, wild, matches: (value) => fold(value) === expected };
  }
  if (!hasVariables) {
    const glob = toGlob(fold(text), true);
    return { text, wild, matches: (value) => globMatches(glob, fold(value)) };
  }
  return {
    text,
    wild,
    matches(value, values) {
      const glob = expand(text, values, options.wildcards, fold);
      return glob !== undefined && globMatches(glob, fold(value));
    },
  };
}

function toGlob(text: string, wildcards: boolean): number[] {
  const glob: number[] = [];
  for (const c of text) {
    if (wildcards && c === '*') glob.push(ANY_TEXT);
    else if (wildcards && c === '?') glob.push(ANY_ONE);
    else glob.push(c.codePointAt(0) ?? 0);
  }
  return glob;
}

/** Values are taken literally: a `*` in a user's name is no wildcard. */
function expand(text: string, values: Values, wildcards: boolean, fold: (s: string) => string): Glob | undefined {
  const glob: number[] = [];
  for (const piece of text.split(/(\$\{[^}]*\})/)) {
    if (!piece.startsWith('${') || !piece.endsWith('}')) {
      glob.push(...toGlob(fold(piece), wildcards));
      continue;
    }
    const value = variable(piece.slice(2, -1), values);
    if (value === undefined) return undefined;
    glob.push(...toGlob(fold(value), false));
  }
  return glob;
}

/** `*`, `?` and `$` stand for themselves; `key, 'default'` has a default. A key with several values has none here. */
function variable(content: string, values: Values): string | undefined {
  if (content === '*' || content === '?' || content === '$') return content;
  const parsed = parseVariable(content);
  if (parsed === undefined) return undefined;
  const found = values.get(parsed.key);
  return found?.length === 1 ? found[0] : parsed.otherwise;
}

function parseVariable(content: string): { key: string; otherwise: string | undefined } | undefined {
  const match = /^\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?$/.exec(content);
  return match === null ? undefined : { key: (match[1] ?? '').toLowerCase(), otherwise: match[2] };
}

/** Condition keys that a text asks for by `${…}`, in lower case. */
export function keysOf(text: string): string[] {
  // each beginning, also one within another: the parts of an ARN are read one by one
  return Array.from(text.matchAll(/\$\{(?=([^}]*)\})/g), ([, content = '']) => parseVariable(content)?.key ?? '');
}

/** Two pointers and one point of return: at worst length times length, whatever the pattern (a regular expression could blow up). */
function globMatches(glob: Glob, text: string): boolean {
  const value = toGlob(text, false);
  let g = 0;
  let v = 0;
  let star = -1;
  let resume = 0;
  while (v < value.length) {
    const token = glob[g];
    if (token === ANY_TEXT) {
      star = g++;
      resume = v;
    } else if (token === ANY_ONE || token === value[v]) {
      g++;
      v++;
    } else if (star >= 0) {
      g = star + 1;
      v = ++resume;
    } else return false;
  }
  while (glob[g] === ANY_TEXT) g++;
  return g === glob.length;
}
