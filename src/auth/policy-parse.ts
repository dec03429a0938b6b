/** From the JSON text of a bucket policy to statements that can be evaluated, or to the reason why not. */
import { S3Error } from '../base/errors.js';
import { compilePattern, keysOf, type Pattern } from './glob.js';
import type { Policy, Principal, Statement } from './policy-model.js';
import { isConditionKey } from './policy-keys.js';
import { compileCondition, PolicyValueError, type Condition } from './policy-conditions.js';

/** S3 User Guide, "Bucket policies": 20 KB. */
const MAX_BYTES = 20 * 1024;
const VERSIONS = ['2012-10-17', '2008-10-17'];
const POLICY_FIELDS = new Set(['Version', 'Id', 'Statement']);
const STATEMENT_FIELDS = new Set([
  'Sid',
  'Effect',
  'Principal',
  'NotPrincipal',
  'Action',
  'NotAction',
  'Resource',
  'NotResource',
  'Condition',
]);

type Json = Readonly<Record<string, unknown>>;

/**
 * @param bucket whose policy it is: every resource must be able to lie in it.
 * @throws MalformedPolicy with the first reason found.
 */
export function parsePolicy(text: string, bucket: string): Policy {
  if (Buffer.byteLength(text) > MAX_BYTES) throw malformed(`Policies must be no larger than ${MAX_BYTES} bytes`);
  const root = parseRoot(text);
  refuseUnknown(root, POLICY_FIELDS);
  const version = root.Version ?? '2008-10-17';
  if (typeof version !== 'string' || !VERSIONS.includes(version)) {
    throw malformed('The policy must contain a valid version string');
  }
  if (root.Id !== undefined && typeof root.Id !== 'string') throw malformed('Invalid policy id');
  const list = Array.isArray(root.Statement) ? (root.Statement as unknown[]) : [root.Statement];
  if (root.Statement === undefined) throw malformed('Missing required field Statement');
  if (list.length === 0) throw malformed('Could not parse the policy: Statement is empty!');
  const context: Context = { bucket, variables: version === '2012-10-17' };
  const statements = list.map((statement) => parseStatement(statement, context));
  refuseTwins(statements);
  return { version, ...(root.Id === undefined ? {} : { id: root.Id }), statements, asksFor: asked(root) };
}

/** By name, wherever it stands: in a condition or as a variable. Of the parsed text, for JSON has many spellings of a name. */
function asked(root: Json): Policy['asksFor'] {
  const text = JSON.stringify(root);
  return { existingTags: /ExistingObjectTag/i.test(text), requestTags: /RequestObjectTag/i.test(text) };
}

interface Context {
  bucket: string;
  /** Policy variables came with version 2012-10-17. */
  variables: boolean;
}

function parseRoot(text: string): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (!isObject(value)) throw malformed("Policies must be valid JSON and the first byte must be '{'");
  return value;
}

function parseStatement(value: unknown, context: Context): Statement {
  if (!isObject(value)) throw malformed('Statement must be an object');
  refuseUnknown(value, STATEMENT_FIELDS);
  const { Effect: effect, Sid: sid } = value;
  if (effect === undefined) throw malformed('Missing required field Effect');
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed(`Invalid effect: ${JSON.stringify(effect)}`);
  if (sid !== undefined && typeof sid !== 'string') throw malformed('Invalid Sid');
  if (effect === 'Allow' && value.NotPrincipal !== undefined)
    throw malformed('Allow with NotPrincipal is not allowed.');
  const principals = choose(value, 'Principal');
  const actions = choose(value, 'Action');
  const resources = choose(value, 'Resource');
  const patterns = parseResources(resources.value, context);
  const conditions = value.Condition === undefined ? [] : parseConditions(value.Condition, context);
  return {
    ...(sid === undefined ? {} : { sid }),
    effect,
    principals: { not: principals.not, list: parsePrincipals(principals.value) },
    actions: { not: actions.not, list: parseActions(actions.value) },
    resources: { not: resources.not, list: patterns },
    conditions,
    keys: keysAsked(patterns, conditions),
  };
}

function keysAsked(resources: readonly Pattern[], conditions: readonly Condition[]): Set<string> {
  const texts = [...resources.map(({ text }) => text), ...conditions.flatMap(({ values }) => values)];
  return new Set([...conditions.map(({ key }) => key), ...texts.flatMap(keysOf)]);
}

/** A field or its Not… twin: exactly one of them. */
function choose(statement: Json, name: string): { not: boolean; value: unknown } {
  const value = statement[name];
  const negated = statement[`Not${name}`];
  if (value !== undefined && negated !== undefined) throw malformed(`Statement has both ${name} and Not${name}`);
  if (value === undefined && negated === undefined) throw malformed(`Missing required field ${name}`);
  return value === undefined ? { not: true, value: negated } : { not: false, value };
}

function parsePrincipals(value: unknown): Principal[] {
  if (value === '*') return [{ kind: 'everyone' }];
  if (!isObject(value)) throw malformed('Invalid principal in policy');
  const found: Principal[] = [];
  for (const [kind, names] of Object.entries(value)) {
    for (const name of texts(names, 'Invalid principal in policy')) found.push(parsePrincipal(kind, name));
  }
  if (found.length === 0) throw malformed('Invalid principal in policy');
  return found;
}

function parsePrincipal(kind: string, name: string): Principal {
  switch (kind) {
    case 'AWS': {
      if (name === '*') return { kind: 'everyone' };
      const arn = /^arn:aws[^:]*:(?:iam|sts)::([^:*?]*):(root|(?:user|role|assumed-role)\/[^*?]+)$/.exec(name);
      if (arn === null) {
        if (name === '' || /[*?:\s]/.test(name)) throw malformed('Invalid principal in policy');
        return { kind: 'id', id: name };
      }
      const [, account = '', who = ''] = arn;
      if (who === 'root') return { kind: 'user', account };
      return who.startsWith('user/')
        ? { kind: 'user', account, user: who.slice('user/'.length) }
        : { kind: 'nobody', role: true };
    }
    case 'CanonicalUser':
      return { kind: 'user', account: name };
    case 'Service':
    case 'Federated':
      return { kind: 'nobody' };
    default:
      throw malformed('Invalid principal in policy');
  }
}

function parseActions(value: unknown): Pattern[] {
  return texts(value, 'Policy has invalid action').map((action) => {
    if (!/^(?:\*|s3:[A-Za-z*?]+)$/i.test(action)) throw malformed('Policy has invalid action');
    return compilePattern(action, { wildcards: true, variables: false, ignoreCase: true });
  });
}

/** Of `arn:aws:s3:::photos/2024/*` only what follows the third colon pair counts; its bucket may be a pattern that fits the bucket. */
function parseResources(value: unknown, { bucket, variables }: Context): Pattern[] {
  return texts(value, 'Policy has invalid resource').map((resource) => {
    const rest = /^arn:aws[^:]*:s3:::(.+)$/s.exec(resource)?.[1];
    const name = rest?.split('/', 1)[0];
    if (rest === undefined || name === undefined) throw malformed('Policy has invalid resource');
    const inBucket = compilePattern(name, { wildcards: true, variables: false }).matches(bucket, new Map());
    if (!inBucket) throw malformed('Policy has invalid resource');
    return compilePattern(rest, { wildcards: true, variables });
  });
}

function parseConditions(value: unknown, context: Context): Condition[] {
  if (!isObject(value)) throw malformed('Invalid Condition');
  const found: Condition[] = [];
  for (const [operator, keys] of Object.entries(value)) {
    if (!isObject(keys)) throw malformed(`Invalid Condition type : ${operator}`);
    for (const [key, values] of Object.entries(keys)) found.push(parseCondition(operator, key, values, context));
  }
  return found;
}

function parseCondition(operator: string, key: string, value: unknown, { variables }: Context): Condition {
  if (!isConditionKey(key)) throw malformed(`Policy has an invalid condition key: ${JSON.stringify(key)}`);
  const values = (Array.isArray(value) ? (value as unknown[]) : [value]).map((one) => {
    if (typeof one === 'string') return one;
    if (typeof one === 'number' || typeof one === 'boolean') return String(one);
    throw malformed(`Invalid value of condition key ${key}`);
  });
  try {
    const condition = compileCondition(operator, key, values, variables);
    if (condition === undefined) throw malformed(`Invalid Condition type : ${operator}`);
    return condition;
  } catch (error) {
    if (error instanceof PolicyValueError) {
      throw malformed(`Invalid value of condition key ${key} for ${operator}: ${error.message}`);
    }
    throw error;
  }
}

/** One string or a non-empty list of strings. */
function texts(value: unknown, complaint: string): string[] {
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  if (list.length === 0) throw malformed(complaint);
  return list.map((one) => {
    if (typeof one !== 'string') throw malformed(complaint);
    return one;
  });
}

function refuseUnknown(value: Json, known: ReadonlySet<string>): void {
  const unknown = Object.keys(value).find((name) => !known.has(name));
  if (unknown !== undefined) throw malformed(`Unknown field ${unknown}`);
}

function refuseTwins(statements: readonly Statement[]): void {
  const seen = new Set<string>();
  for (const { sid } of statements) {
    if (sid === undefined || sid === '') continue;
    if (seen.has(sid)) throw malformed('Statement IDs (SID) in a single policy must be unique.');
    seen.add(sid);
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function malformed(why: string): S3Error {
  return new S3Error('MalformedPolicy', why);
}
