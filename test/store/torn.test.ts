/** Files that others rewrite while they are read, with their old size and mtime: no bytes under the ETag of others. */
import {
  closeSync,
  existsSync,
  futimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { S3Error } from '../../src/base/errors.js';
import type { PartRef } from '../../src/store/contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body, md5 } from '../suites/store/kit.js';

const SOME_TIME = 1_700_000_000;

let root: string;
let store: LocalStore;
const at = (...names: string[]): string => join(root, 'b', ...names);

beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-torn-')));
  mkdirSync(at('d'), { recursive: true });
  store = await openStore(root, { minPartSize: 1 });
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true, force: true });
});

function fill(size: number): void {
  writeFileSync(at('d', 'f'), Buffer.alloc(size, 'a'));
  utimesSync(at('d', 'f'), SOME_TIME, SOME_TIME);
}

/** Other bytes; size and mtime as before. */
function rewrite(size: number): void {
  const fd = openSync(at('d', 'f'), 'r+');
  writeSync(fd, Buffer.alloc(size, 'b'), 0, size, 0);
  futimesSync(fd, SOME_TIME, SOME_TIME);
  closeSync(fd);
}

/** Opens the object, lets `change` happen, and reads it. */
async function readAcross(key: string, change: () => void): Promise<string> {
  const open = await store.open('b', key);
  let bytes = '';
  try {
    change();
    await open.read(0, open.info.size, (chunk) => {
      bytes += chunk.toString('latin1');
    });
  } finally {
    await open.close();
  }
  return bytes;
}

describe.each([100, 2 << 20])('an object of %i bytes that is being read', (size) => {
  it('is not sent on when it was rewritten', async () => {
    fill(size);
    await expect(readAcross('d/f', () => rewrite(size))).rejects.toMatchObject({ code: 'InternalError' });
  });

  it.each([
    ['its folder renamed', 'd/f'],
    ['the folder renamed that a link leads into', 'link'],
  ])('is not sent on when it was rewritten and %s', async (_what, key) => {
    fill(size);
    symlinkSync('d/f', at('link'));
    const change = (): void => {
      rewrite(size);
      renameSync(at('d'), at('e'));
    };
    await expect(readAcross(key, change)).rejects.toMatchObject({ code: 'InternalError' });
  });

  it('is sent whole when its folder was renamed', async () => {
    fill(size);
    expect(await readAcross('d/f', () => renameSync(at('d'), at('e')))).toBe('a'.repeat(size));
  });

  it.each([
    ['its name changed', 'd', 'g'],
    ['it went to another folder', '', 'f'],
  ])('is sent whole when %s', async (_what, folder, name) => {
    fill(size);
    expect(await readAcross('d/f', () => renameSync(at('d', 'f'), at(folder, name)))).toBe('a'.repeat(size));
  });
});

describe('a small object that is rewritten with its old size and mtime, and replaced, while it is read', () => {
  const replace = (): void => {
    rewrite(100);
    writeFileSync(at('new'), 'new');
    renameSync(at('new'), at('d', 'f'));
  };

  it('is not sent on', async () => {
    fill(100);
    await expect(readAcross('d/f', replace)).rejects.toMatchObject({ code: 'InternalError' });
  });

  it('is not sent on in part', async () => {
    fill(100);
    const open = await store.open('b', 'd/f');
    replace();
    await expect(open.read(10, 20, () => undefined)).rejects.toMatchObject({ code: 'InternalError' });
    await open.close();
  });

  it('is not told of by a copy', async () => {
    const size = 64 << 20;
    fill(size);
    await store.live.hashFile(['b', 'd'], 'f');
    const staging = join(root, '.gos3rve', 'staging');
    const copied = store.copy({ bucket: 'b', key: 'd/f' }, { bucket: 'b', key: 'copy' });
    while (readdirSync(staging).length === 0 && !existsSync(at('copy'))) await new Promise(setImmediate);
    rewrite(size);
    renameSync(at('d', 'f'), at('d', 'g'));
    const etag = await copied.then(
      ({ etag }) => etag,
      ({ code }: S3Error) => code,
    );
    expect([existsSync(at('copy')) && md5(readFileSync(at('copy'))), 'NoSuchKey']).toContain(etag);
  });
});

it('an object of parts is sent whole when it is replaced while it is read', async () => {
  const { uploadId } = await store.createUpload('b', 'd/f', { facts: {} });
  const parts: PartRef[] = [];
  for (const partNumber of [1, 2]) {
    const { etag } = await store.putPart('b', 'd/f', uploadId, partNumber, body(Buffer.alloc(50, 'a')));
    parts.push({ partNumber, etag, checksums: {} });
  }
  await store.completeUpload('b', 'd/f', uploadId, parts);
  const replace = (): void => {
    writeFileSync(at('new'), 'new');
    renameSync(at('new'), at('d', 'f'));
  };
  expect(await readAcross('d/f', replace)).toBe('a'.repeat(100));
});
