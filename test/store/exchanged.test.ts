/** Folders that change places between two looks at a path: what is told is of one file, whichever (DESIGN rule 4). */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Core } from '../../src/store/core.js';
import type { ObjectInfo } from '../../src/store/contract.js';
import { Tracker } from '../../src/store/identity.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, get, md5 } from '../suites/store/kit.js';

const BUCKET = 'box';
const KEY = 'A/s/f';
let root: string;
let store: LocalStore;
const at = (name: string): string => path.join(root, BUCKET, name);

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-exchanged-'));
  fs.mkdirSync(path.join(root, BUCKET));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await store.close();
  fs.rmSync(root, { recursive: true });
});

function exchange(): void {
  fs.renameSync(at('A'), at('t'));
  fs.renameSync(at('B'), at('A'));
  fs.renameSync(at('t'), at('B'));
}

/** Each file's letter is in its bytes and in all that is said of it. */
async function fill(hash: 'lazy' | 'off', size: number): Promise<void> {
  store = await openStore(root, { durability: 'fast', hash });
  for (const [i, letter] of ['A', 'B'].entries())
    await store.put(BUCKET, `${letter}/s/f`, body(letter.repeat(size + i)), {
      facts: { contentType: `text/${letter}`, metadata: { of: letter } },
    });
}

function expectOne({ size, etag, facts }: ObjectInfo, base: number, bytes?: Buffer): void {
  const letter = facts.metadata?.['of'] ?? '';
  expect(['A', 'B']).toContain(letter);
  expect(facts.contentType).toBe(`text/${letter}`);
  const whole = letter.repeat(base + 'AB'.indexOf(letter));
  expect(size).toBe(whole.length);
  // of a file that is not hashed yet, its stamps may be told
  if (!etag.includes('-')) expect(etag).toBe(md5(whole));
  if (bytes) expect(bytes.equals(Buffer.from(whole))).toBe(true);
}

/** Lets the folders change places whenever a method returns, as often as the plan says: the n-th call counts. */
function exchangeAfter(prototype: object, method: string, plan: readonly number[]): void {
  const original: unknown = Reflect.get(prototype, method);
  if (typeof original !== 'function') throw new Error(`no ${method}`);
  let calls = 0;
  let inside = false;
  vi.spyOn(prototype as Record<string, () => unknown>, method).mockImplementation(function (
    this: unknown,
    ...args: unknown[]
  ) {
    const result: unknown = Reflect.apply(original, this, args);
    if (!inside) {
      inside = true;
      if (plan.includes(++calls)) exchange();
      inside = false;
    }
    return result;
  });
}

const PLANS = [[1], [2], [3], [4], [1, 2], [1, 3], [2, 3], [1, 2, 3, 4]];
const STORES: ['lazy' | 'off', number][] = [
  ['lazy', 5],
  ['off', 5],
  ['lazy', 1_200_000],
];

describe.each(STORES)('folders that change places (hash %s, %i bytes)', (hash, size) => {
  for (const [prototype, method] of [
    [Tracker.prototype, 'settleDirs'],
    [Core.prototype, 'find'],
  ] as const)
    it.each(PLANS.map((plan) => [plan]))(`after ${method} number %j: one file is told of`, async (plan) => {
      await fill(hash, size);
      exchange();
      exchangeAfter(prototype, method, plan);
      const { info, bytes } = await get(store, KEY);
      vi.restoreAllMocks();
      expectOne(info, size, bytes);
      exchange();
      exchangeAfter(prototype, method, plan);
      const told = await store.head(BUCKET, KEY);
      vi.restoreAllMocks();
      expectOne(told, size);
      for (const key of ['A/s/f', 'B/s/f']) expectOne((await get(store, key)).info, size);
    });
});
