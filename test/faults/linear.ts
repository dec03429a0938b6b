/**
 * Linearizability: whether a history of concurrent operations could have been that of one object that does one thing at a time, in an
 * order that respects real time (Herlihy and Wing). The search is Wing and Gong's with Lowe's memory of configurations, as in porcupine.
 *
 * Two shortcuts, both without loss:
 * - An operation that is legal now, changes nothing and may come first is taken at once and never taken back.
 * - A write is not tried if it destroys the last copy of a value that an operation still to come has seen and nobody will write again.
 *
 * The search takes time exponential in the operations that overlap, so a history is first cut wherever its state is known (linear-segments.ts).
 */
import { segmentsOf } from './linear-segments.js';

/** One operation as the model sees it: what had to be there, and what is there afterwards. */
export interface Step {
  /** Times by one clock for all processes, any unit. */
  call: number;
  return: number;
  /** Key -> what it must hold: a value, `undefined` for nothing, {@link ANY} for something, {@link not} for anything but a value. */
  needs?: Record<string, Need>;
  /** Key -> what it holds afterwards. */
  writes?: Record<string, string | undefined>;
  /** Must have come before: the first half of an operation that is no single moment. */
  after?: Step;
  /** Nobody knows whether it was done (its process died): it may have been, or not. */
  maybe?: boolean;
  /** For the reader of a counter-example. */
  label: string;
}
export const ANY = Symbol('any');
export interface Not {
  not: string;
}
export type Need = string | undefined | typeof ANY | Not;

/** Something is there, but not this. */
export function not(value: string): Not {
  return { not: value };
}

export interface Verdict {
  /** `undecided`: more configurations than `limit` were met. */
  outcome: 'linearizable' | 'violation' | 'undecided';
  /** The operations around the point that no order could pass, for a violation. */
  stuck: string[];
  configurations: number;
  /** Parts that were looked at by themselves. */
  segments: number;
}
type Found = Omit<Verdict, 'segments'>;

/** A place in the list of calls and returns, linked so that operations can be lifted out and put back in O(1). */
interface Node {
  step: Step;
  index: number;
  isCall: boolean;
  /** Of a call: its return. */
  match: Node | undefined;
  previous: Node | undefined;
  next: Node | undefined;
}

type State = Map<string, string>;

/** How often a search that got lost begins again, with its guesses in another order. */
const ATTEMPTS = 12;

/**
 * @param initial key -> value; what is missing holds nothing.
 * @param limit of configurations, for each part of the history that can be looked at by itself
 */
export function checkHistory(steps: readonly Step[], initial: Record<string, string> = {}, limit = 3_000_000): Verdict {
  const total: Verdict = { outcome: 'linearizable', stuck: [], configurations: 0, segments: 0 };
  for (const segment of segmentsOf(steps, initial)) {
    const verdict = checkSegment(segment.steps, segment.initial, limit);
    total.segments++;
    total.configurations += verdict.configurations;
    if (verdict.outcome !== 'linearizable') Object.assign(total, { outcome: verdict.outcome, stuck: verdict.stuck });
    // one that is not decided may be followed by one that is wrong for certain
    if (verdict.outcome === 'violation') return total;
  }
  return total;
}

function checkSegment(steps: readonly Step[], initial: Record<string, string>, limit: number): Found {
  let configurations = 0;
  for (let attempt = 0; ; attempt++) {
    // the last one is thorough
    const share = attempt < ATTEMPTS ? limit / (2 * ATTEMPTS) : limit / 2;
    const verdict = new Search(steps, new Map(Object.entries(initial)), share, attempt).run();
    configurations += verdict.configurations;
    if (verdict.outcome !== 'undecided' || attempt === ATTEMPTS) return { ...verdict, configurations };
  }
}

interface Candidate {
  node: Node;
  /** As one that was never done. */
  skip: boolean;
}
interface Frame extends Candidate {
  undo: [string, string | undefined][];
  /** Not tried yet in its place. */
  rest: Candidate[];
}

class Search {
  private readonly head: Node;
  private readonly values = new Values();
  private readonly seen = new Set<string>();
  private readonly taken: boolean[];
  /** Of the operations by time of call: the first not taken, the last taken. */
  private readonly indexes = new Map<Step, number>();
  /** When an operation may have taken place. */
  private readonly guesses: number[] = [];
  private lowest = 0;
  private highest = -1;
  private readonly frames: Frame[] = [];
  /** The furthest that any order came, and what it could not pass. */
  private furthest = -1;
  private stuck: string[] = [];

  constructor(
    steps: readonly Step[],
    private readonly state: State,
    private readonly limit: number,
    attempt: number,
  ) {
    const ordered = [...steps].sort((a, b) => a.call - b.call);
    this.taken = ordered.map(() => false);
    this.head = linked(ordered);
    for (const step of ordered) this.values.pending(step, 1);
    for (const [index, step] of ordered.entries()) {
      this.indexes.set(step, index);
      // mostly late in their time; each attempt guesses somewhat differently
      const share = attempt === 0 ? 1 : 0.3 + 0.7 * noise(index, attempt);
      this.guesses.push(step.call + (step.return - step.call) * share);
    }
  }

  run(): Found {
    let candidates = this.candidates();
    while (this.head.next) {
      if (this.seen.size > this.limit) return this.verdict('undecided');
      const next = candidates.pop();
      if (next) {
        if ((next.skip || this.isLegal(next.node.step)) && this.take(next, candidates)) candidates = this.candidates();
        continue;
      }
      if (this.frames.length > this.furthest) {
        this.furthest = this.frames.length;
        this.stuck = this.around();
      }
      let frame = this.frames.pop();
      while (frame && changesNothing(frame.node.step)) {
        this.putBack(frame);
        frame = this.frames.pop();
      }
      if (!frame) return this.verdict('violation');
      this.putBack(frame);
      candidates = frame.rest;
    }
    return this.verdict('linearizable');
  }

  /**
   * What may come next, the best last: one that is legal and changes nothing; else the writes that were called before the first return, by
   * the time at which they may have taken place.
   */
  private candidates(): Candidate[] {
    const writes: Candidate[] = [];
    const skips: Candidate[] = [];
    for (let node = this.head.next; node?.isCall; node = node.next) {
      if (changesNothing(node.step)) {
        if (this.isLegal(node.step)) return [{ node, skip: false }];
        continue;
      }
      writes.push({ node, skip: false });
      if (node.step.maybe === true) skips.push({ node, skip: true });
    }
    writes.sort((a, b) => (this.guesses[b.node.index] ?? 0) - (this.guesses[a.node.index] ?? 0));
    return [...skips, ...writes];
  }

  private verdict(outcome: Verdict['outcome']): Found {
    return { outcome, stuck: outcome === 'linearizable' ? [] : this.stuck, configurations: this.seen.size };
  }

  private isLegal({ needs, after }: Step): boolean {
    if (after && this.taken[this.indexes.get(after) ?? 0] !== true) return false;
    for (const [key, need] of Object.entries(needs ?? {})) {
      const value = this.state.get(key);
      if (need === ANY ? value === undefined : typeof need === 'object' ? isNot(need, value) : need !== value)
        return false;
    }
    return true;
  }

  /** @returns false if this configuration was met before, or leads nowhere. */
  private take({ node, skip }: Candidate, rest: Candidate[]): boolean {
    const { step } = node;
    const undo: Frame['undo'] = [];
    for (const [key, value] of Object.entries((skip ? undefined : step.writes) ?? {})) {
      undo.push([key, this.state.get(key)]);
      assign(this.state, key, value);
    }
    this.mark(node, true);
    const idle = changesNothing(step);
    if (!idle && (this.isHopeless(undo) || !this.isNew())) {
      this.mark(node, false);
      restore(this.state, undo);
      return false;
    }
    lift(node);
    this.frames.push({ node, skip, undo, rest });
    return true;
  }

  private putBack({ node, undo }: Frame): void {
    unlift(node);
    this.mark(node, false);
    restore(this.state, undo);
  }

  private mark({ index, step }: Node, taken: boolean): void {
    this.taken[index] = taken;
    this.values.pending(step, taken ? -1 : 1);
    if (taken) {
      this.highest = Math.max(this.highest, index);
      while (this.taken[this.lowest]) this.lowest++;
    } else {
      this.lowest = Math.min(this.lowest, index);
      while (this.highest >= 0 && !this.taken[this.highest]) this.highest--;
    }
  }

  private isHopeless(undo: Frame['undo']): boolean {
    const held = new Set(this.state.values());
    return undo.some(([, old]) => old !== undefined && !held.has(old) && this.values.isMissed(old));
  }

  /** What was taken, as the first that was not and those taken behind it, and the state. */
  private isNew(): boolean {
    const beyond: number[] = [];
    for (let i = this.lowest + 1; i <= this.highest; i++) if (this.taken[i]) beyond.push(i - this.lowest);
    const held = [...this.state].sort(([a], [b]) => (a < b ? -1 : 1)).join(';');
    const name = `${this.lowest}|${beyond.join(',')}|${held}`;
    if (this.seen.has(name)) return false;
    this.seen.add(name);
    return true;
  }

  /** The last that were taken, and what could not come then. */
  private around(): string[] {
    const lines = this.frames.slice(-10).map(({ node }) => `before: ${shown(node.step)}`);
    lines.push(`state: ${JSON.stringify([...this.state])}`);
    let node = this.head.next;
    for (; node?.isCall && lines.length < 60; node = node.next) lines.push(`not yet: ${shown(node.step)}`);
    return [...lines, `must come first: ${shown(node?.step)}`];
  }
}

/** How many operations that are still to come have seen a value, and how many write it. */
class Values {
  private readonly seen = new Map<string, number>();
  private readonly written = new Map<string, number>();

  pending({ needs, writes }: Step, by: 1 | -1): void {
    for (const need of Object.values(needs ?? {})) if (typeof need === 'string') count(this.seen, need, by);
    for (const [key, value] of Object.entries(writes ?? {})) {
      // a move writes what it has seen: that brings no value back
      const moved = Object.entries(needs ?? {}).some(([from, need]) => from !== key && need === value);
      if (value !== undefined && !moved) count(this.written, value, by);
    }
  }

  isMissed(value: string): boolean {
    return (this.seen.get(value) ?? 0) > 0 && (this.written.get(value) ?? 0) === 0;
  }
}

function count(map: Map<string, number>, value: string, by: number): void {
  const now = (map.get(value) ?? 0) + by;
  if (now === 0) map.delete(value);
  else map.set(value, now);
}

function isNot(need: Not, value: string | undefined): boolean {
  return value === undefined || value === need.not;
}

function changesNothing({ writes }: Step): boolean {
  return writes === undefined;
}

function assign(state: State, key: string, value: string | undefined): void {
  if (value === undefined) state.delete(key);
  else state.set(key, value);
}

function restore(state: State, undo: Frame['undo']): void {
  for (const [key, value] of undo.toReversed()) assign(state, key, value);
}

/** Calls and returns in the order of time, behind a head; of equal times calls come first, which forbids less. */
function linked(ordered: readonly Step[]): Node {
  const nodes = ordered.flatMap((step, index): Node[] => {
    const end: Node = { step, index, isCall: false, match: undefined, previous: undefined, next: undefined };
    return [{ ...end, isCall: true, match: end }, end];
  });
  const time = ({ isCall, step }: Node): number => (isCall ? step.call : step.return);
  nodes.sort((a, b) => time(a) - time(b) || Number(b.isCall) - Number(a.isCall));
  const none: Step = { call: 0, return: 0, label: 'head' };
  const head: Node = { step: none, index: -1, isCall: false, match: undefined, previous: undefined, next: undefined };
  let last = head;
  for (const node of nodes) {
    last.next = node;
    node.previous = last;
    last = node;
  }
  return head;
}

/** Takes call and return out of the list. */
function lift(call: Node): void {
  for (const node of [call, call.match]) {
    if (!node) continue;
    if (node.previous) node.previous.next = node.next;
    if (node.next) node.next.previous = node.previous;
  }
}

function unlift(call: Node): void {
  for (const node of [call.match, call]) {
    if (!node) continue;
    if (node.previous) node.previous.next = node;
    if (node.next) node.next.previous = node;
  }
}

/** 0 to 1, the same for the same arguments. */
function noise(index: number, attempt: number): number {
  const x = Math.sin(index * 12.9898 + attempt * 78.233) * 43_758.5453;
  return x - Math.floor(x);
}

function shown(step: Step | undefined): string {
  return step ? `[${step.call} ${step.return}] ${step.label}` : 'anything';
}
