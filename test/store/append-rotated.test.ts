/** A reader of an object that grows and then leaves its key (a log that is rotated) gets the bytes it was promised; one whose bytes others wrote to does not. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, md5 } from '../suites/store/kit.js';

const SIZE = 3 << 20;
const OLD = Buffer.alloc(SIZE, 'old ');

let root: string;
let store: LocalStore;
/** Another process's, as far as the two share anything. */
let other: LocalStore;
const at = (name: string): string => path.join(root, 'b', name);

beforeEach(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-rotated-'));
  fs.mkdirSync(at(''));
  store = await openStore(root, { durability: 'fast' });
  other = await openStore(root, { durability: 'fast' });
  await store.put('b', 'log', body(OLD));
});
afterEach(async () => {
  await Promise.all([store.close(), other.close()]);
  fs.rmSync(root, { recursive: true });
});

/** MD5 of what a reader gets while `meanwhile` happens, or why it was cut. */
async function read(meanwhile: () => Promise<unknown>, key = 'log'): Promise<string> {
  const open = await store.open('b', key);
  const chunks: Buffer[] = [];
  try {
    await open.read(0, open.info.size, async (chunk) => {
      if (chunks.length === 0) await meanwhile();
      chunks.push(Buffer.from(chunk));
    });
    return md5(Buffer.concat(chunks));
  } catch (error) {
    return String(error);
  } finally {
    await open.close();
  }
}

const append = async (key = 'log', piece = 'more', by = other): Promise<void> => {
  await by.append('b', key, fs.statSync(at(key)).size, body(piece));
};
const ref = (key: string): { bucket: string; key: string } => ({ bucket: 'b', key });
const rename = (to = 'log.1'): Promise<unknown> => other.move(ref('log'), ref(to));

const LEAVES: [string, () => Promise<unknown>][] = [
  ['deleted', () => other.delete('b', 'log')],
  ['renamed', () => rename()],
  ['overwritten', () => other.put('b', 'log', body('new'))],
  [
    'copied onto itself',
    () => other.copy(ref('log'), ref('log'), { facts: (info) => ({ ...info.facts, metadata: { a: 'b' } }) }),
  ],
  ['renamed by another program', async () => fs.renameSync(at('log'), at('log.1'))],
  ['appended to again under its new name', async () => rename().then(() => append('log.1'))],
  [
    'renamed, appended to and removed',
    async () =>
      rename()
        .then(() => append('log.1'))
        .then(() => other.delete('b', 'log.1')),
  ],
];

describe('a download of an object that is appended to and then', { timeout: 60_000 }, () => {
  it.each(LEAVES)('%s gets what it was promised', async (_name, leave) => {
    const got = await read(async () => {
      await append();
      await append();
      await leave();
    });
    expect(got).toBe(md5(OLD));
  });

  it.each(LEAVES)('%s gets it also when it was opened after the first append', async (_name, leave) => {
    await append();
    const got = await read(async () => {
      await append();
      await leave();
    });
    expect(got).toBe(md5(Buffer.concat([OLD, Buffer.from('more')])));
  });

  it('deleted gets it also of a file that nobody has hashed', async () => {
    fs.writeFileSync(at('foreign'), OLD);
    const got = await read(async () => {
      await append('foreign');
      await other.delete('b', 'foreign');
    }, 'foreign');
    expect(got).toBe(md5(OLD));
  });

  it('deleted while an append goes on gets it', async () => {
    const got = await read(async () => {
      const long = append('log', 'x'.repeat(64 << 20)).catch((error: Error) => error.message);
      while (fs.statSync(at('log')).size === SIZE) await new Promise((resolve) => setImmediate(resolve));
      await other.delete('b', 'log');
      await long;
    });
    expect(got).toBe(md5(OLD));
  });

  it('renamed can be a source of parts', async () => {
    const { uploadId } = await store.createUpload('b', 'copy', {});
    const open = await store.open('b', 'log');
    async function* chunks(): AsyncGenerator<Uint8Array> {
      const all: Buffer[] = [];
      await open.read(0, open.info.size, async (chunk) => {
        if (all.length === 0) await append().then(() => rename());
        all.push(Buffer.from(chunk));
      });
      yield* all;
    }
    const part = await store.putPart('b', 'copy', uploadId, 1, { chunks: chunks(), size: SIZE });
    await open.close();
    expect(part.etag).toBe(md5(OLD));
  });
});

describe('a download is cut', { timeout: 60_000 }, () => {
  const CUT = /changed by another program/;
  const overwrite = (name: string): void => {
    const fd = fs.openSync(at(name), 'r+');
    fs.writeSync(fd, 'theirs', SIZE - 100);
    fs.closeSync(fd);
  };

  it.each(LEAVES)('when others wrote before the append, and it was %s', async (_name, leave) => {
    expect(
      await read(async () => {
        overwrite('log');
        await append();
        await leave();
      }),
    ).toMatch(CUT);
  });

  it('when others wrote before the append, and it is still there', async () => {
    expect(
      await read(async () => {
        overwrite('log');
        await append();
      }),
    ).toMatch(CUT);
  });

  it.each(LEAVES)('when others wrote after the append, and it was %s', async (_name, leave) => {
    expect(
      await read(async () => {
        await append();
        overwrite('log');
        await leave();
      }),
    ).toMatch(CUT);
  });

  it('when others wrote between two appends', async () => {
    expect(
      await read(async () => {
        await append();
        overwrite('log');
        await append();
        await rename();
      }),
    ).toMatch(CUT);
  });

  it('when others wrote after it was renamed', async () => {
    expect(
      await read(async () => {
        await append();
        await rename();
        overwrite('log.1');
      }),
    ).toMatch(CUT);
  });
});
