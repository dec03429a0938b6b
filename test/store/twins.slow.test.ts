/**
 * Two stores go through the same operations, by S3 and by other programs; one loses its index again and again. Afterwards both tell the same of
 * every object (DESIGN rule 2). Operations come from a seed; `SEED='5 6'` runs others.
 *
 * The moment that a rename must be left alone never passes by itself, which would depend on how busy the machine is, but when a step says so.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, list } from '../suites/store/kit.js';
import { ALL_FACTS } from '../suites/store/objects.js';

const BUCKET = 'box';
const HOUR = 3_600_000;
const FOLDERS = ['a', 'a/deep', 'b', 'c'];
const SEEDS = (process.env.SEED ?? '1 2 3 4').split(' ').map(Number);
const { acl: _acl, owner: _owner, ...SAID } = ALL_FACTS;

const bases: string[] = [];
afterEach(() => {
  for (const base of bases.splice(0)) fs.rmSync(base, { recursive: true });
});

/** Park and Miller's generator: the same numbers everywhere. */
function numbers(seed: number): (below: number) => number {
  let state = seed * 7919 + 1;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

class Twin {
  readonly root: string;
  store: LocalStore | undefined;

  constructor() {
    const base = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-twin-'));
    bases.push(base);
    this.root = path.join(base, 'root');
    fs.mkdirSync(path.join(this.root, BUCKET), { recursive: true });
  }

  at(name: string): string {
    return path.join(this.root, BUCKET, name);
  }

  async open(quietMs = HOUR): Promise<LocalStore> {
    this.store ??= await openStore(this.root, { durability: 'fast', minPartSize: 1, quietMs });
    return this.store;
  }

  async close(): Promise<void> {
    await this.store?.close();
    this.store = undefined;
  }

  /** What follows a rename only after a moment has followed. */
  async passMoment(): Promise<void> {
    await this.picture();
    await this.close();
    await this.open(0);
    await this.picture();
    await this.close();
  }

  async loseIndex(): Promise<void> {
    await this.close();
    fs.rmSync(path.join(this.root, '.gos3rve/index'), { recursive: true });
    await this.open();
  }

  /** All that a client can be told, but times that are the clock's. */
  async picture(): Promise<unknown[]> {
    const store = await this.open();
    const seen: unknown[] = [];
    for (const key of await list(store)) {
      const { etag, size, facts, partCount, checksum } = await store.head(BUCKET, key);
      seen.push({ key, etag, size, facts, partCount, checksum });
    }
    return seen;
  }
}

type Step = (twin: Twin) => Promise<void> | void;

/** An operation by S3 or by another program. What it names may not be there: then it does nothing. */
function step(next: (below: number) => number, n: number): [string, Step] {
  const name = (): string => `${FOLDERS[next(FOLDERS.length)] ?? ''}/k${next(4)}`;
  const folder = (): string => FOLDERS[next(FOLDERS.length)] ?? '';
  const [x, y, f, g] = [name(), name(), folder(), folder()];
  const has = (twin: Twin, ...names: string[]): boolean => names.every((one) => fs.existsSync(twin.at(one)));
  const steps: [string, Step][] = [
    [`put ${x}`, async (t) => void (await (await t.open()).put(BUCKET, x, body(`put ${n}`), { facts: SAID }))],
    [`complete ${x}`, (t) => complete(t, x, n)],
    [`delete ${x}`, async (t) => void (await (await t.open()).delete(BUCKET, x))],
    [
      `tag ${x}`,
      async (t) => {
        if (has(t, x))
          await (await t.open()).updateFacts(BUCKET, x, (facts) => ({ ...facts, tags: [['n', String(n)]] }));
      },
    ],
    [`marker ${f}/m/`, async (t) => void (await (await t.open()).put(BUCKET, `${f}/m/`, body(''), { facts: SAID }))],
    [
      `write ${x}`,
      (t) => {
        fs.mkdirSync(path.dirname(t.at(x)), { recursive: true });
        fs.writeFileSync(t.at(x), `foreign ${n}`);
      },
    ],
    [
      `rename ${x} ${y}`,
      (t) => {
        if (!has(t, x) || !fs.existsSync(path.dirname(t.at(y)))) return;
        fs.renameSync(t.at(x), t.at(y));
      },
    ],
    [
      `swap ${x} ${y}`,
      (t) => {
        if (has(t, x, y) && x !== y) exchange(t, x, y);
      },
    ],
    [
      `swap folders ${f} ${g}`,
      (t) => {
        if (has(t, f, g) && !f.startsWith(g) && !g.startsWith(f)) exchange(t, f, g);
      },
    ],
    [
      `rename folder ${f} d${n}`,
      (t) => {
        if (has(t, f)) fs.renameSync(t.at(f), t.at(`d${n}`));
      },
    ],
    [
      `save ${x}`,
      (t) => {
        if (!has(t, x)) return;
        fs.renameSync(t.at(x), t.at(`${x}~`));
        fs.writeFileSync(t.at(x), `saved ${n}`);
      },
    ],
    [`rm ${x}`, (t) => fs.rmSync(t.at(x), { force: true })],
    [
      `restore ${f}`,
      (t) => {
        if (!has(t, f)) return;
        fs.cpSync(t.at(f), `${t.root}-copy`, { recursive: true, preserveTimestamps: true });
        fs.rmSync(t.at(f), { recursive: true });
        fs.cpSync(`${t.root}-copy`, t.at(f), { recursive: true, preserveTimestamps: true });
        fs.rmSync(`${t.root}-copy`, { recursive: true });
      },
    ],
    ['a moment passes', (t) => t.passMoment()],
    ['look', async (t) => void (await t.picture())],
    [`head ${x}`, async (t) => void (await (await t.open()).head(BUCKET, x).catch(() => undefined))],
  ];
  return steps[next(steps.length)] ?? ['nothing', () => undefined];
}

function exchange(twin: Twin, x: string, y: string): void {
  fs.renameSync(twin.at(x), twin.at('swap'));
  fs.renameSync(twin.at(y), twin.at(x));
  fs.renameSync(twin.at('swap'), twin.at(y));
}

async function complete(twin: Twin, key: string, n: number): Promise<void> {
  const store = await twin.open();
  const { uploadId } = await store.createUpload(BUCKET, key, { facts: SAID });
  const { etag } = await store.putPart(BUCKET, key, uploadId, 1, body(`part ${n}`));
  await store.completeUpload(BUCKET, key, uploadId, [{ partNumber: 1, etag, checksums: {} }]);
}

describe('a store that lost its index', () => {
  it.each(SEEDS)('tells what its twin tells, seed %i', { timeout: 120_000 }, async (seed) => {
    const next = numbers(seed);
    const twins = [new Twin(), new Twin()] as const;
    const done: string[] = [];
    for (let n = 0; n < 80; n++) {
      if (n % 20 === 10) {
        done.push('the index is lost');
        await twins[1].loseIndex();
      }
      const [name, run] = step(next, n);
      done.push(name);
      for (const twin of twins) await run(twin);
    }
    for (const twin of twins) await twin.passMoment();
    const [kept, lost] = [await twins[0].picture(), await twins[1].picture()];
    expect(lost, done.join('\n')).toEqual(kept);
    for (const twin of twins) await twin.close();
  });
});
