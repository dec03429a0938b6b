/**
 * Bucket policies: the verdict of a policy on a request, and whether it is public.
 * Source: IAM User Guide, "IAM JSON policy reference"; S3 User Guide, "The meaning of 'public'".
 */
import type { Values } from './glob.js';
import type { Condition } from './policy-conditions.js';
import type { Policy, Principal, Statement } from './policy-model.js';
import { Readings, type Conditions } from './policy-readings.js';
import type { Identity } from './types.js';

export type { Policy } from './policy-model.js';
export { parsePolicy } from './policy-parse.js';

export interface PolicyRequest {
  identity: Identity;
  /** `s3:GetObject` */
  action: string;
  /** `arn:aws:s3:::bucket` or `arn:aws:s3:::bucket/key`, the key decoded. */
  resource: string;
  /** Values of condition keys; names in any case. A key without value is absent. */
  conditions: Conditions;
  /** Condition keys that a statement must demand fixed values of, or its Allow does not count. */
  pins?: readonly string[];
}

/** Patterns of actions have no variables. */
const NO_VALUES: Values = new Map();

/** An explicit Deny wins over every Allow; undefined when no statement speaks of the request. */
export function evaluatePolicy(policy: Policy, request: PolicyRequest): 'Allow' | 'Deny' | undefined {
  const readings = new Readings(request.conditions);
  const resource = request.resource.replace(/^arn:aws[^:]*:s3:::/, '');
  let verdict: 'Allow' | undefined;
  for (const statement of policy.statements) {
    if (verdict === 'Allow' && statement.effect === 'Allow') continue;
    if (!applies(statement, request, resource, readings)) continue;
    if (statement.effect === 'Deny') return 'Deny';
    if (!fixes(statement, request.pins ?? [])) continue;
    verdict = 'Allow';
  }
  return verdict;
}

function applies(statement: Statement, request: PolicyRequest, resource: string, readings: Readings): boolean {
  const { effect, principals, actions, resources, conditions, keys } = statement;
  if (principals.list.some((principal) => principalIs(principal, request.identity)) === principals.not) return false;
  if (actions.list.some((action) => action.matches(request.action, NO_VALUES)) === actions.not) return false;
  const holds = (values: Values): boolean =>
    resources.list.some((pattern) => pattern.matches(resource, values)) !== resources.not &&
    conditions.every((condition) => condition.holds(values));
  const possible = readings.of(keys);
  if (possible === undefined) return effect === 'Deny';
  return effect === 'Deny' ? possible.some(holds) : possible.every(holds);
}

/** Two tags whose names differ in case only are two, and a condition speaks of one. */
function fixes({ conditions }: Statement, pins: readonly string[]): boolean {
  const keys = pins.map((pin) => pin.toLowerCase());
  if (new Set(keys).size < pins.length) return false;
  return keys.every((pin) => conditions.some(({ fixed, key }) => fixed && key === pin));
}

function principalIs(principal: Principal, identity: Identity): boolean {
  if (principal.kind === 'everyone') return true;
  if (principal.kind === 'nobody' || identity.kind === 'anonymous') return false;
  const { owner, accessKey } = identity;
  if (principal.kind === 'id') return principal.id === owner.id || principal.id === accessKey;
  const { account, user } = principal;
  if (account !== '' && account !== owner.id) return false;
  if (user === undefined) return account !== '';
  // A path before the name (`user/team/ann`) says where a user is filed, not who it is.
  const name = user.slice(user.lastIndexOf('/') + 1);
  if (name === accessKey || name === owner.id) return true;
  // aws:PrincipalArn names him so; the name alone says nothing, for others may bear it, too.
  return account !== '' && (user === owner.displayName || name === owner.displayName);
}

/**
 * Whether some Deny is for a principal that is none of these: it would protect nothing, without a word. (An Allow for nobody lets nobody in, and all but
 * nobody are everyone: these may stand.)
 */
export function deniesNobody(policy: Policy, identities: readonly Identity[]): boolean {
  return policy.statements.some(
    ({ effect, principals }) =>
      effect === 'Deny' &&
      !principals.not &&
      principals.list.some((principal) => {
        if (principal.kind === 'nobody') return principal.role === true;
        return principal.kind !== 'everyone' && !identities.some((identity) => principalIs(principal, identity));
      }),
  );
}

/** Condition keys that, pinned to fixed values, keep a policy for everyone from being public. */
const LIMITING_KEYS: ReadonlySet<string> = new Set(
  [
    'aws:PrincipalAccount',
    'aws:PrincipalArn',
    'aws:PrincipalOrgID',
    'aws:PrincipalOrgPaths',
    'aws:SourceAccount',
    'aws:SourceArn',
    'aws:SourceIp',
    'aws:SourceOwner',
    'aws:SourceVpc',
    'aws:SourceVpce',
    'aws:userid',
    'aws:username',
    's3:DataAccessPointAccount',
    's3:DataAccessPointArn',
    's3:x-amz-server-side-encryption-aws-kms-key-id',
  ].map((key) => key.toLowerCase()),
);

/** True if some statement allows something to everyone, and no condition on who or where from limits it to fixed values. */
export function isPublicPolicy(policy: Policy): boolean {
  return policy.statements.some(
    ({ effect, principals, conditions }) =>
      effect === 'Allow' &&
      (principals.not || principals.list.some((principal) => principal.kind === 'everyone')) &&
      !conditions.some(limits),
  );
}

/** `anonymous` is the account of everybody without one. */
function limits({ fixed, key, values }: Condition): boolean {
  return fixed && LIMITING_KEYS.has(key) && !values.some((value) => value.toLowerCase() === 'anonymous');
}
