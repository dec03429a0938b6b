/**
 * Cuts a history where its state is known: where no operation is open and, since the last write, each key has been read. What comes before such a
 * point and what comes after can be ordered by themselves, without loss: the reads at the cut belong to the part before it and prove its end.
 */
import type { Step } from './linear.js';

export interface Segment {
  steps: Step[];
  /** Key -> value when it begins; what is missing holds nothing. */
  initial: Record<string, string>;
}

export function segmentsOf(steps: readonly Step[], initial: Record<string, string>): Segment[] {
  const keys = new Set([...Object.keys(initial), ...steps.flatMap(keysOf)]);
  const segments: Segment[] = [];
  let current: Segment = { steps: [], initial };
  const known = new Map<string, string | undefined>();
  for (const block of blocksOf(steps)) {
    current.steps.push(...block);
    learn(known, block);
    if (known.size < keys.size) continue;
    segments.push(current);
    const held = [...known].filter((entry): entry is [string, string] => entry[1] !== undefined);
    current = { steps: [], initial: Object.fromEntries(held) };
  }
  return current.steps.length > 0 ? [...segments, current] : segments;
}

function keysOf({ needs, writes }: Step): string[] {
  return [...Object.keys(needs ?? {}), ...Object.keys(writes ?? {})];
}

/** Groups of operations between which none was open. */
function blocksOf(steps: readonly Step[]): Step[][] {
  const blocks: Step[][] = [];
  let block: Step[] = [];
  let last = -Infinity;
  for (const step of [...steps].sort((a, b) => a.call - b.call)) {
    if (step.call > last) blocks.push((block = []));
    block.push(step);
    last = Math.max(last, step.return);
  }
  return blocks;
}

/** A write makes its keys unknown, whatever was read beside it. */
function learn(known: Map<string, string | undefined>, block: readonly Step[]): void {
  for (const { needs, writes } of block) {
    for (const [key, need] of Object.entries(needs ?? {})) {
      if (!writes && (need === undefined || typeof need === 'string')) known.set(key, need);
    }
  }
  for (const { writes } of block) for (const key of Object.keys(writes ?? {})) known.delete(key);
}
