/**
 * One pattern of a .gitignore, read as git reads it (gitignore(5), and `git check-ignore` where the page is silent) - but by characters, where git
 * counts bytes. Braces, parentheses and `+@|` stand for themselves. Negation is the caller's.
 *
 * A match costs at most the square of the text's length times the pattern's: names are given by clients, and a backtracking expression could be made to
 * take for ever.
 */

/** A code point, one character of a set, or one of those below. */
type Token = number | CharSet;
/** Any character but a slash. */
const ANY_ONE = -1;
/** Any text without a slash. */
const STAR = -2;
/** Any text. */
const WIDE = -3;
/** No directories, or whole ones with their slashes. */
const DIRS = -4;
const SLASH = 0x2f;

interface CharSet {
  not: boolean;
  /** Code points, from and to. */
  ranges: [number, number][];
  classes: RegExp[];
}

export interface GitPattern {
  /** It matches directories only. */
  dirOnly: boolean;
  /** It has no slash, so it is a name at any depth; else a path from the top. */
  isName: boolean;
  /** Its text begins with a slash. */
  fromTop: boolean;
  /** What it matches is this very text; undefined if more than that. */
  literal?: string;
  /** What it matches is all that ends so; undefined if it is not of that kind. */
  suffix?: string;
  matches: (text: string) => boolean;
}

/** @returns undefined for a pattern that can match nothing. */
export function parsePattern(line: string): GitPattern | undefined {
  const text = withoutSpaces(line);
  const dirOnly = text.endsWith('/');
  const body = dirOnly ? text.slice(0, -1) : text;
  const isName = !body.includes('/');
  const fromTop = body.startsWith('/');
  const glob = fromTop ? body.slice(1) : body;
  const kind = { dirOnly, isName, fromTop };
  if (glob === '') return undefined;
  if (!SPECIAL.test(glob)) return { ...kind, literal: glob, matches: (given) => given === glob };
  const suffix = glob.slice(1);
  if (isName && glob.startsWith('*') && !SPECIAL.test(suffix))
    return { ...kind, suffix, matches: (given) => given.endsWith(suffix) };
  const tokens = tokensOf(Array.from(glob), isName);
  return tokens && { ...kind, matches: (given) => globMatches(tokens, given) };
}

const SPECIAL = /[*?[\\]/;

/** Spaces at the end count for nothing unless a backslash stands before them. */
function withoutSpaces(line: string): string {
  let end = 0;
  for (let i = 0; i < line.length; i++) {
    const escaped = line[i] === '\\';
    if (escaped) i++;
    if (escaped || line[i] !== ' ') end = i + 1;
  }
  return line.slice(0, end);
}

/** @returns undefined where git matches nothing: a bracket that is not closed, a class that does not exist, a backslash at the end. */
function tokensOf(chars: readonly string[], isName: boolean): Token[] | undefined {
  const tokens: Token[] = [];
  const first = chars.findIndex((c) => SPECIAL.test(c));
  for (let at = 0; at < chars.length; at++) {
    const c = chars[at];
    if (c === '*') {
      const begin = at;
      while (chars[at + 1] === '*') at++;
      // git compares the plain text before the first special character by itself: what follows stands at a beginning
      const whole = !isName && at > begin && (begin === first || chars[begin - 1] === '/');
      if (whole && chars[at + 1] === '/') {
        tokens.push(DIRS);
        at++;
      } else if (whole && (at + 1 === chars.length || (chars[at + 1] === '\\' && chars[at + 2] === '/'))) {
        tokens.push(WIDE);
      } else tokens.push(STAR);
    } else if (c === '?') tokens.push(ANY_ONE);
    else if (c === '[') {
      const set = readSet(chars, at + 1);
      if (set === undefined) return undefined;
      tokens.push(set.set);
      at = set.end;
    } else {
      const literal = c === '\\' ? chars[++at] : c;
      if (literal === undefined) return undefined;
      tokens.push(codePoint(literal));
    }
  }
  return tokens;
}

/** @param begin behind the `[`. @returns also where the `]` is. */
function readSet(chars: readonly string[], begin: number): { set: CharSet; end: number } | undefined {
  const set: CharSet = { not: chars[begin] === '!' || chars[begin] === '^', ranges: [], classes: [] };
  /** What a range can begin with. */
  let previous: number | undefined;
  let at = set.not ? begin + 1 : begin;
  // a `]` that comes first is one of the set
  do {
    const named = readClass(chars, at);
    if (named !== undefined) {
      const known = CLASSES.get(named.name);
      if (known === undefined) return undefined;
      set.classes.push(known);
      previous = undefined;
      at = named.end;
      continue;
    }
    const from = chars[at] === '-' && chars[at + 1] !== ']' ? previous : undefined;
    if (from !== undefined) at++;
    if (chars[at] === '\\') at++;
    const c = chars[at];
    if (c === undefined) return undefined;
    const code = codePoint(c);
    set.ranges.push([from ?? code, code]);
    previous = from === undefined ? code : undefined;
  } while (chars[++at] !== ']');
  return { set, end: at };
}

/** `[:digit:]`; a `[:` without its `:]` is two characters. @returns also where its `]` is. */
function readClass(chars: readonly string[], at: number): { name: string; end: number } | undefined {
  if (chars[at] !== '[' || chars[at + 1] !== ':') return undefined;
  const end = chars.indexOf(']', at + 2);
  return end > at + 2 && chars[end - 1] === ':' ? { name: chars.slice(at + 2, end - 1).join(''), end } : undefined;
}

const CLASSES: ReadonlyMap<string, RegExp> = new Map([
  ['alnum', /[0-9A-Za-z]/],
  ['alpha', /[A-Za-z]/],
  ['blank', /[ \t]/],
  ['cntrl', /[\u0000-\u001f\u007f]/],
  ['digit', /[0-9]/],
  ['graph', /[!-~]/],
  ['lower', /[a-z]/],
  ['print', /[ -~]/],
  ['punct', /[!-/:-@[-`{-~]/],
  ['space', /[ \t\n\r]/],
  ['upper', /[A-Z]/],
  ['xdigit', /[0-9A-Fa-f]/],
]);

function codePoint(c: string): number {
  return c.codePointAt(0) ?? 0;
}

function fits(token: Token, code: number): boolean {
  if (token === ANY_ONE) return code !== SLASH;
  if (typeof token === 'number') return token === code;
  const { not, ranges, classes } = token;
  const has =
    ranges.some(([from, to]) => from <= code && code <= to) ||
    classes.some((known) => known.test(String.fromCodePoint(code)));
  return has !== not && code !== SLASH;
}

/**
 * Each wildcard takes as little as it can at first. Where that fails, the last STAR takes a character more; where that would be a slash, the last
 * WIDE or DIRS takes more. Those before need not be tried again: what they could take, the later one can, too.
 */
function globMatches(tokens: readonly Token[], text: string): boolean {
  let t = 0;
  let i = 0;
  let star = -1;
  let starEnd = 0;
  let wide = -1;
  let wideEnd = 0;
  for (;;) {
    const token = tokens[t];
    const code = text.codePointAt(i);
    if (token === undefined && code === undefined) return true;
    if (token === STAR) {
      star = t++;
      starEnd = i;
    } else if (token === WIDE || token === DIRS) {
      wide = t++;
      wideEnd = i;
      star = -1;
    } else if (token !== undefined && code !== undefined && fits(token, code)) {
      t++;
      i += width(code);
    } else {
      const more = star < 0 ? undefined : text.codePointAt(starEnd);
      if (more !== undefined && more !== SLASH) {
        i = starEnd += width(more);
        t = star + 1;
        continue;
      }
      star = -1;
      if (wide < 0 || wideEnd >= text.length) return false;
      if (tokens[wide] === DIRS) {
        const slash = text.indexOf('/', wideEnd);
        if (slash < 0) return false;
        wideEnd = slash + 1;
      } else wideEnd += width(text.codePointAt(wideEnd) ?? 0);
      i = wideEnd;
      t = wide + 1;
    }
  }
}

/** In UTF-16 units. */
function width(code: number): number {
  return code > 0xffff ? 2 : 1;
}
