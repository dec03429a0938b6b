/** Statements of bucket policies, shortly. */

export interface Rule {
  Effect: 'Allow' | 'Deny';
  Action: string | string[];
  Condition?: object;
  Principal?: unknown;
  Resource?: string;
}

export const allow = (Action: string | string[], Condition?: object): Rule => ({
  Effect: 'Allow',
  Action,
  ...(Condition && { Condition }),
});
export const deny = (Action: string | string[], Condition?: object): Rule => ({
  ...allow(Action, Condition),
  Effect: 'Deny',
});
