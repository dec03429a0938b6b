/** A bucket policy as it is evaluated: what the parser makes and the verdict reads. */
import type { Pattern } from './glob.js';
import type { Condition } from './policy-conditions.js';

export interface Policy {
  version: string;
  id?: string;
  statements: Statement[];
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
}

export type Principal =
  | { kind: 'everyone' }
  /** `account` is an owner's id (the `:root` of an ARN, a plain id), '' if the ARN names none; `user` an access key or owner id. */
  | { kind: 'user'; account: string; user?: string }
  /** A plain id: owner id or access key. */
  | { kind: 'id'; id: string }
  /** Services and federated users: nobody here. */
  | { kind: 'nobody' };
