/** A bucket policy as it is evaluated: what the parser makes and the verdict reads. */
import type { Pattern } from './glob.js';
import type { Condition } from './policy-conditions.js';

export interface Policy {
  version: string;
  id?: string;
  statements: Statement[];
  /** What it asks for that costs a look-up: tags that an object has, tags that a request gives one. */
  asksFor: { existingTags: boolean; requestTags: boolean };
}

export interface Statement {
  sid?: string;
  effect: 'Allow' | 'Deny';
  /** `not`: everyone but these. */
  principals: { not: boolean; list: Principal[] };
  actions: { not: boolean; list: Pattern[] };
  /** Patterns of what follows `arn:aws:s3:::`. */
  resources: { not: boolean; list: Pattern[] };
  conditions: Condition[];
  /** Condition keys that it asks for, in conditions or by variables, in lower case. */
  keys: ReadonlySet<string>;
}

export type Principal =
  | { kind: 'everyone' }
  /**
   * `account` is an owner's id (the `:root` of an ARN, a plain id), '' if the ARN names none; `user` an access key, an owner's id or, in his account, his
   * display name, with the path that may stand before it.
   */
  | { kind: 'user'; account: string; user?: string }
  /** A plain id: owner id or access key. */
  | { kind: 'id'; id: string }
  /** Services, federated users and roles: nobody here. */
  | { kind: 'nobody'; role?: boolean };
