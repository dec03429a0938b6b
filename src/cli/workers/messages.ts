/** What the primary and its workers tell each other, over the channel of node:cluster. Plain data. */
import type { Credential } from '../../auth/types.js';
import type { Served } from '../gateway.js';

/** All that a worker must know: it reads no configuration of its own, which may have changed since the primary did. */
export interface Assignment extends Served {
  credentials: readonly Credential[];
  /** Whoever reads standard output sees a terminal, though the worker writes to a pipe. */
  terminal: boolean;
}

/** What a worker asks of the primary, which alone sends events. */
export type Question = { method: 'test'; target: string; message: object } | { method: 'settle' };

export type ToWorker =
  /** With what the primary listens on. */
  | { kind: 'start'; assignment: Assignment }
  | { kind: 'answer'; id: number; value: number }
  | { kind: 'refusal'; id: number; code?: string; message: string };

export type ToPrimary =
  /** It listens: what is sent before gets lost. */
  | { kind: 'here' }
  /** It cannot serve. */
  | { kind: 'failed'; message: string }
  | { kind: 'busy'; busy: boolean }
  | { kind: 'changed' }
  | { kind: 'question'; id: number; question: Question };
