/** The Condition element of a bucket policy. Source: IAM User Guide, "IAM JSON policy elements: Condition operators". */
import { BlockList, isIP, isIPv6 } from 'node:net';
import { compilePattern, type Pattern, type Values } from './glob.js';

/** One operator on one key with its values. All conditions of a statement must hold. */
export interface Condition {
  /** As written, e.g. `ForAnyValue:StringLikeIfExists`. */
  operator: string;
  /** In lower case: names of condition keys are case-insensitive. */
  key: string;
  values: readonly string[];
  /** True if the condition demands a value of the key, and no pattern or negation lets in arbitrary ones. */
  fixed: boolean;
  holds(values: Values): boolean;
}

/** Whether one value of the request meets one or other value of the policy. */
type Test = (value: string, values: Values) => boolean;

interface Operator {
  negated: boolean;
  /** @throws PolicyValueError for a value that the operator cannot take. */
  compile(expected: readonly string[], variables: boolean): { test: Test; fixed: boolean };
}

/** A value of the policy that its operator cannot take; the parser turns it into MalformedPolicy. */
export class PolicyValueError extends Error {}

const OPERATORS: ReadonlyMap<string, Operator> = new Map([
  ...both('StringEquals', 'StringNotEquals', strings({ wildcards: false })),
  ...both('StringEqualsIgnoreCase', 'StringNotEqualsIgnoreCase', strings({ wildcards: false, ignoreCase: true })),
  ...both('StringLike', 'StringNotLike', strings({ wildcards: true })),
  ...both('ArnEquals', 'ArnNotEquals', strings({ wildcards: true, arn: true })),
  ...both('ArnLike', 'ArnNotLike', strings({ wildcards: true, arn: true })),
  ...both(
    'NumericEquals',
    'NumericNotEquals',
    ordered(parseNumber, (a, b) => a === b),
  ),
  ...both(
    'DateEquals',
    'DateNotEquals',
    ordered(parseDate, (a, b) => a === b),
  ),
  ...both('IpAddress', 'NotIpAddress', addresses),
  ...comparisons('Numeric', parseNumber),
  ...comparisons('Date', parseDate),
  one('Bool', strings({ wildcards: false, ignoreCase: true })),
  one('BinaryEquals', strings({ wildcards: false })),
]);

/**
 * @param operator e.g. `StringLike`, with ForAllValues: or ForAnyValue: before and IfExists behind it.
 * @param variables whether `${…}` has its meaning.
 * @returns undefined for an operator that IAM does not know.
 * @throws PolicyValueError
 */
export function compileCondition(
  operator: string,
  name: string,
  values: readonly string[],
  variables: boolean,
): Condition | undefined {
  const key = name.toLowerCase();
  if (operator === 'Null') return nullCondition(key, values);
  const match = /^(?:(ForAllValues|ForAnyValue):)?(\w+?)(IfExists)?$/.exec(operator);
  const known = OPERATORS.get(match?.[2] ?? '');
  if (match === null || known === undefined) return undefined;
  const [, quantifier, , ifExists] = match;
  const { negated } = known;
  const { test, fixed } = known.compile(values, variables);
  const one = (value: string, all: Values): boolean => test(value, all) !== negated;
  return {
    operator,
    key,
    values,
    fixed: fixed && !negated && ifExists === undefined && quantifier !== 'ForAllValues',
    holds(all) {
      const given = all.get(key);
      if (given === undefined || given.length === 0) {
        if (quantifier === 'ForAnyValue') return ifExists !== undefined;
        return negated || quantifier === 'ForAllValues' || ifExists !== undefined;
      }
      // Without a quantifier a key has one value; should it have more, a negation must hold for all of them.
      const every = quantifier === 'ForAllValues' || (quantifier === undefined && negated);
      return every ? given.every((value) => one(value, all)) : given.some((value) => one(value, all));
    },
  };
}

function nullCondition(key: string, values: readonly string[]): Condition {
  const wanted = values.map((value) => value.toLowerCase());
  const bad = wanted.find((value) => value !== 'true' && value !== 'false');
  if (bad !== undefined) throw new PolicyValueError(bad);
  return {
    operator: 'Null',
    key,
    values,
    fixed: false,
    holds: (all) => wanted.includes(String((all.get(key)?.length ?? 0) === 0)),
  };
}

type Compile = Operator['compile'];

function one(name: string, compile: Compile): [string, Operator] {
  return [name, { negated: false, compile }];
}

function both(name: string, negation: string, compile: Compile): [string, Operator][] {
  return [one(name, compile), [negation, { negated: true, compile }]];
}

function comparisons(type: 'Numeric' | 'Date', parse: (text: string) => number): [string, Operator][] {
  return [
    one(
      `${type}LessThan`,
      ordered(parse, (a, b) => a < b),
    ),
    one(
      `${type}LessThanEquals`,
      ordered(parse, (a, b) => a <= b),
    ),
    one(
      `${type}GreaterThan`,
      ordered(parse, (a, b) => a > b),
    ),
    one(
      `${type}GreaterThanEquals`,
      ordered(parse, (a, b) => a >= b),
    ),
  ];
}

function strings(options: { wildcards: boolean; ignoreCase?: boolean; arn?: boolean }): Compile {
  return (expected, variables) => {
    const patterns = expected.map((text) => compilePatterns(text, options, variables));
    return {
      fixed: patterns.every((parts) => parts.every((part) => !part.wild)),
      test: (value, values) => patterns.some((parts) => partsMatch(parts, value, values)),
    };
  };
}

/** An ARN's six parts are compared one by one, so that `*` in one does not reach into the next. */
function compilePatterns(
  text: string,
  { arn, ...options }: { wildcards: boolean; ignoreCase?: boolean; arn?: boolean },
  variables: boolean,
): Pattern[] {
  const parts = arn === true ? splitArn(text) : [text];
  return parts.map((part) => compilePattern(part, { ...options, variables }));
}

function partsMatch(parts: readonly Pattern[], value: string, values: Values): boolean {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return only.matches(value, values);
  const given = splitArn(value);
  return given.length === parts.length && parts.every((part, i) => part.matches(given[i] ?? '', values));
}

/** `arn:partition:service:region:account:resource`; colons in the resource belong to it, those in `${…}` to the variable. */
function splitArn(text: string): string[] {
  const parts = text.split(/:(?![^{}]*\})/);
  return parts.length <= 6 ? parts : [...parts.slice(0, 5), parts.slice(5).join(':')];
}

function ordered(parse: (text: string) => number, compare: (given: number, expected: number) => boolean): Compile {
  return (expected) => {
    const limits = expected.map((text) => {
      const number = parse(text);
      if (Number.isNaN(number)) throw new PolicyValueError(text);
      return number;
    });
    // A value of the request that is no number compares false with all (NaN).
    return { fixed: true, test: (value) => limits.some((limit) => compare(parse(value), limit)) };
  };
}

function parseNumber(text: string): number {
  return /^\s*[+-]?\d+(?:\.\d+)?\s*$/.test(text) ? Number(text) : NaN;
}

/** ISO 8601 (W3C profile: a time has a zone) or seconds since 1970; ms. */
function parseDate(text: string): number {
  if (/^\d+(?:\.\d+)?$/.test(text) && text.length > 4) return Number(text) * 1000;
  return /^\d{4}(?:-\d\d){0,2}(?:T[\d:.]+(?:Z|[+-]\d\d:?\d\d))?$/.test(text) ? Date.parse(text) : NaN;
}

function addresses(expected: readonly string[]): ReturnType<Compile> {
  const list = new BlockList();
  let narrow = true;
  for (const text of expected) {
    const { address, prefix, version } = parseCidr(text);
    // S3 User Guide: ranges wider than /8 (IPv4) or /32 (IPv6) count as everyone.
    narrow &&= prefix >= (version === 'ipv4' ? 8 : 32);
    list.addSubnet(address, prefix, version);
  }
  return {
    fixed: narrow,
    test(value) {
      const address = plainAddress(value);
      return isIP(address) !== 0 && list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
    },
  };
}

interface Cidr {
  address: string;
  prefix: number;
  version: 'ipv4' | 'ipv6';
}

function parseCidr(text: string): Cidr {
  const [address = '', bits, rest] = text.trim().split('/');
  const version = isIPv6(address) ? 'ipv6' : 'ipv4';
  const most = version === 'ipv6' ? 128 : 32;
  const prefix = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) : NaN;
  if (isIP(address) === 0 || rest !== undefined || !(prefix <= most)) throw new PolicyValueError(text);
  return { address, prefix, version };
}

/** A dual-stack socket gives IPv4 peers as `::ffff:192.0.2.1`. */
function plainAddress(text: string): string {
  return /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text;
}
