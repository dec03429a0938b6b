/** Clients who put, tag and delete, and another program that renames folders meanwhile, with and without looks in between: each object keeps what was said of it (DESIGN rules 1, 2 and 4). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import fc from '../fast-check.js';
import { body, get, list } from '../suites/store/kit.js';

const BUCKET = 'box';
const RUNS = process.env.GOS3RVE_FULL === '1' ? 400 : 25;
/** Never reached: what belongs to a key alone does not move in these tests. */
const OPTIONS = { durability: 'fast', quietMs: 3_600_000 } as const;

type Step =
  | { do: 'put' | 'tag' | 'delete'; key: string }
  | { do: 'rename'; from: string; to: string }
  | { do: 'swap'; from: string; to: string }
  | { do: 'look' | 'rebuild' };

const folder = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('p', 'q', 'r') },
  { weight: 2, arbitrary: fc.constantFrom('p/x', 'q/x', 'r/x') },
  { weight: 1, arbitrary: fc.constantFrom('p/x/y', 'q/x/y') },
);
const key = fc.tuple(folder, fc.constantFrom('b', 'c')).map((parts) => parts.join('/'));
const two = fc.record({ from: folder, to: folder });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: key.map((key) => ({ do: 'put' as const, key })) },
  { weight: 1, arbitrary: key.map((key) => ({ do: 'tag' as const, key })) },
  { weight: 1, arbitrary: key.map((key) => ({ do: 'delete' as const, key })) },
  { weight: 5, arbitrary: two.map((names) => ({ do: 'rename' as const, ...names })) },
  { weight: 1, arbitrary: two.map((names) => ({ do: 'swap' as const, ...names })) },
  { weight: 1, arbitrary: fc.constant({ do: 'look' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'rebuild' as const }) },
);

let root: string;
let store: LocalStore;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-folders-'));
});
afterEach(() => fs.rmSync(root, { recursive: true }));

const at = (name: string): string => path.join(root, BUCKET, name);
const isBelow = (name: string, folder: string): boolean => name === folder || name.startsWith(`${folder}/`);
const isFolder = (name: string): boolean => fs.statSync(at(name), { throwIfNoEntry: false })?.isDirectory() === true;

/** Each key with its bytes and what is said of it. */
async function told(): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const key of await list(store)) {
    const { info, bytes } = await get(store, key);
    all[key] = `${bytes.toString()} ${String(info.facts.contentType)} ${String(info.facts.metadata?.['v'])}`;
  }
  return all;
}

async function rebuild(): Promise<void> {
  await store.close();
  fs.rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, OPTIONS);
}

/** By another program, where rename(2) can. @returns whether it did. */
function rename(from: string, to: string): boolean {
  if (isBelow(to, from) || isBelow(from, to) || !isFolder(from) || fs.existsSync(at(to))) return false;
  if (!isFolder(path.dirname(to))) return false;
  fs.renameSync(at(from), at(to));
  return true;
}

class Model {
  private objects = new Map<string, string>();
  private count = 0;

  constructor(private readonly log: string[]) {}

  async take(one: Step): Promise<void> {
    this.log.push(JSON.stringify(one));
    switch (one.do) {
      case 'put': {
        const n = String(++this.count);
        const facts = { contentType: `text/${n}`, metadata: { v: n } };
        await store.put(BUCKET, one.key, body(n), { facts });
        this.objects.set(one.key, `${n} text/${n} ${n}`);
        return;
      }
      case 'tag': {
        const [bytes] = this.objects.get(one.key)?.split(' ') ?? [];
        if (bytes === undefined) return;
        const n = String(++this.count);
        await store.updateFacts(BUCKET, one.key, () => ({ contentType: `text/${n}`, metadata: { v: n } }));
        this.objects.set(one.key, `${bytes} text/${n} ${n}`);
        return;
      }
      case 'delete':
        // one that its folder has left for another folder, unseen, cannot be told from one that is gone
        if (!isFolder(path.dirname(one.key))) return;
        await store.delete(BUCKET, one.key);
        this.objects.delete(one.key);
        return;
      case 'rename':
        if (rename(one.from, one.to)) this.renamed(one.from, one.to);
        return;
      case 'swap':
        if (!isFolder(one.from) || !isFolder(one.to)) return;
        for (const [from, to] of [
          [one.from, 't'],
          [one.to, one.from],
          ['t', one.to],
        ] as const)
          if (rename(from, to)) this.renamed(from, to);
        return;
      case 'look':
        return this.check();
      case 'rebuild':
        return rebuild();
    }
  }

  private renamed(from: string, to: string): void {
    this.objects = new Map(
      [...this.objects].map(([key, what]) => [isBelow(key, from) ? to + key.slice(from.length) : key, what]),
    );
  }

  async check(): Promise<void> {
    expect(await told(), this.log.join('\n')).toEqual(Object.fromEntries(this.objects));
  }
}

describe('folders that another program renames between the writes of clients', () => {
  it(`keep all that was said of what is in them (${RUNS} runs)`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 20 }), async (steps) => {
        fs.rmSync(root, { recursive: true, force: true });
        fs.mkdirSync(at(''), { recursive: true });
        store = await openStore(root, OPTIONS);
        try {
          const model = new Model([]);
          for (const one of steps) await model.take(one);
          await model.check();
          await rebuild();
          await model.check();
        } finally {
          await store.close();
        }
      }),
      { numRuns: RUNS, endOnFailure: false },
    );
  }, 300_000);
});
