/** Listings against a naive model, in byte order of UTF-8. */
import { statSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import fc from '../../fast-check.js';
import type { ListQuery } from '../../../src/store/contract.js';
import type { MakeStore } from './kit.js';
import { BUCKET, byteOrder, list, nameOf, put, text, world } from './kit.js';

/** What S3 answers: keys and common prefixes after `after`, at most `max`. */
export function naiveList(keys: Iterable<string>, query: ListQuery): { names: string[]; truncated: boolean } {
  const names = new Set<string>();
  for (const key of keys) {
    if (!key.startsWith(query.prefix)) continue;
    const at = query.delimiter === '' ? -1 : key.indexOf(query.delimiter, query.prefix.length);
    names.add(at < 0 ? key : key.slice(0, at + query.delimiter.length));
  }
  const after = [...names].sort(byteOrder).filter((name) => byteOrder(name, query.after) > 0);
  return { names: after.slice(0, query.max), truncated: after.length > query.max };
}

/** Few letters, so that prefixes meet; U+FFFD and U+1F600 sort differently in UTF-16 than in UTF-8. */
const letter = fc.constantFrom('a', 'b', '/', '/', '.', '-', '0', '\u{1f600}', '\ufffd', 'é', '~', ' ');
const word = (min: number, max: number): fc.Arbitrary<string> =>
  fc.array(letter, { minLength: min, maxLength: max }).map((letters) => letters.join(''));
const keySet = fc.uniqueArray(word(1, 6), { minLength: 0, maxLength: 24 });

export function listContract(make: MakeStore): void {
  describe('list', () => {
    const w = world(make, { durability: 'fast' });

    it('agrees with a naive model for any keys, prefix, delimiter, after and max', { timeout: 120_000 }, async () => {
      let bucket = 0;
      const query = fc.record({
        prefix: fc.oneof(fc.constant(''), word(0, 3)),
        delimiter: fc.oneof(fc.constant('/'), fc.constant(''), word(1, 2)),
        after: fc.oneof(fc.constant(''), word(0, 5)),
        max: fc.integer({ min: 0, max: 12 }),
      });
      await fc.assert(
        fc.asyncProperty(keySet, fc.array(query, { minLength: 6, maxLength: 12 }), async (keys, queries) => {
          const name = `p${bucket++}`;
          await w.store.createBucket(name, {});
          for (const key of keys) await put(w.store, key, key.endsWith('/') && key.length % 2 ? '' : key, name);
          for (const asked of queries) {
            if (insidePrefix(asked)) continue;
            const page = await w.store.list(name, asked);
            const model = naiveList(keys, asked);
            expect(page.entries.map(nameOf), JSON.stringify(asked)).toEqual(model.names);
            if (asked.max === 0) continue;
            expect(page.next, JSON.stringify(asked)).toEqual(model.truncated ? model.names.at(-1) : undefined);
          }
        }),
        { numRuns: 25 },
      );
    });

    it('pages through everything once, whatever the page size', { timeout: 120_000 }, async () => {
      let bucket = 0;
      await fc.assert(
        fc.asyncProperty(
          keySet,
          fc.integer({ min: 1, max: 5 }),
          fc.constantFrom('', '/', 'a'),
          async (keys, max, delimiter) => {
            const name = `q${bucket++}`;
            await w.store.createBucket(name, {});
            for (const key of keys) await put(w.store, key, 'x', name);
            const whole = naiveList(keys, { prefix: '', delimiter, after: '', max: 1000 }).names;
            expect(await list(w.store, { delimiter, max }, name)).toEqual(whole);
          },
        ),
        { numRuns: 15, verbose: 2, interruptAfterTimeLimit: 20000, markInterruptAsFailure: true },
      );
    });

    it('agrees with the model while clients and other programs work on the tree', { timeout: 120_000 }, async () => {
      const key = fc
        .array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 })
        .map((names) => names.join('/'));
      const step = fc.record({ what: fc.constantFrom('put', 'delete', 'write', 'unlink', 'list'), key });
      let bucket = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
          const name = `r${bucket++}`;
          await w.store.createBucket(name, {});
          const model: Model = { objects: new Map(), odd: new Set() };
          for (const [n, one] of steps.entries()) {
            await play(w.store, path.join(w.root, name), name, model, one, `${n}`);
          }
          expect(await list(w.store, {}, name)).toEqual([...model.objects.keys()].sort(byteOrder));
          for (const [known, content] of model.objects) expect(await text(w.store, known, name)).toBe(content);
        }),
        { numRuns: 30 },
      );
    });

    it('gives entries with sizes and etags, prefixes without', async () => {
      await put(w.store, 'a/1', '1');
      await put(w.store, 'b', '22');
      const page = await w.store.list(BUCKET, { prefix: '', delimiter: '/', after: '', max: 1000 });
      expect(page.entries).toHaveLength(2);
      expect(page.entries[0]).toEqual({ prefix: 'a/' });
      expect(page.entries[1]).toMatchObject({ key: 'b', size: 2, etag: (await w.store.head(BUCKET, 'b')).etag });
    });

    it('shows a common prefix only while an object lies below it', async () => {
      await put(w.store, 'a/b/c', 'x');
      await mkdir(w.at('empty/deep'), { recursive: true });
      expect(await list(w.store, { delimiter: '/' })).toEqual(['a/']);
      await rm(w.at('a/b/c'));
      expect(await list(w.store, { delimiter: '/' })).toEqual([]);
    });

    it('pages through a large folder', async () => {
      const names = Array.from({ length: 2500 }, (_, n) => `f${n}`);
      await mkdir(w.at('many'));
      for (const name of names) await writeFile(w.at('many', name), '');
      const keys = names.map((name) => `many/${name}`).sort(byteOrder);
      expect(await list(w.store)).toEqual(keys);
      expect(await list(w.store, { prefix: 'many/f12', max: 7 })).toEqual(
        keys.filter((key) => key.startsWith('many/f12')),
      );
    });
  });
}

/**
 * A start inside a common prefix: S3 shows the prefix if a key after the start lies below it, and the contract leaves
 * that to the caller.
 */
function insidePrefix({ prefix, delimiter, after }: ListQuery): boolean {
  if (delimiter === '' || !after.startsWith(prefix)) return false;
  const at = after.indexOf(delimiter, prefix.length);
  return at >= 0 && at + delimiter.length < after.length;
}

interface Model {
  objects: Map<string, string>;
  /** Keys that were put while they could be no path, also for an empty folder's sake: other programs leave them alone here. */
  odd: Set<string>;
}

/** One step of a client or of another program, on store, tree and model; steps that would make a conflict are skipped. */
async function play(
  store: Parameters<typeof put>[0],
  folder: string,
  bucket: string,
  { objects, odd }: Model,
  { what, key }: { what: string; key: string },
  content: string,
): Promise<void> {
  const file = path.join(folder, key);
  const conflict = [...objects.keys()].some((other) => other.startsWith(`${key}/`) || key.startsWith(`${other}/`));
  if (what === 'put') {
    // A folder that another program emptied stays, and is in the way of its own name.
    if (conflict || statSync(file, { throwIfNoEntry: false })?.isDirectory()) odd.add(key);
    await put(store, key, content, bucket);
    objects.set(key, content);
  } else if (what === 'delete') {
    expect(await store.delete(bucket, key)).toBe(objects.delete(key));
  } else if (what === 'list') {
    expect(await list(store, {}, bucket)).toEqual([...objects.keys()].sort(byteOrder));
  } else if (conflict || odd.has(key)) {
    return;
  } else if (what === 'write') {
    await rm(file, { recursive: true, force: true });
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, content);
    objects.set(key, content);
  } else if (objects.delete(key)) {
    await rm(file);
  }
}
