import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ChecksumAlgorithm } from '../../src/base/model.js';
import { verify, type VerifyQuestion, type VerifyReport } from '../../src/jobs/verify.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';
import type { Verdict } from '../../src/store/verify.js';

let root: string;
let store: LocalStore;
beforeEach(async () => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-verify-')));
  mkdirSync(join(root, 'b'));
  store = await openStore(root, { minPartSize: 1 });
});
afterEach(async () => {
  await store.close();
  rmSync(root, { recursive: true });
});

const put = (key: string, text: string, algorithm?: ChecksumAlgorithm) =>
  store.put('b', key, body(text), algorithm ? { digests: { algorithms: [algorithm], store: algorithm } } : {});

interface Outcome extends VerifyReport {
  found: Map<string, Verdict>;
}
async function run(question: Partial<VerifyQuestion> = {}): Promise<Outcome> {
  // in the same millisecond it would not be due again
  await new Promise((resolve) => setTimeout(resolve, 2));
  const found = new Map<string, Verdict>();
  const report = await verify(store.verifier, {
    signal: new AbortController().signal,
    progress: () => undefined,
    damage: (name, verdict) => found.set(name, verdict),
    ...question,
  });
  return { ...report, found };
}

/**
 * A disk that lies: the record is changed in the journal instead of the bytes on the disk, since nobody can change bytes without a trace in
 * the times. The index is made anew from it.
 */
async function tamper(change: (line: string) => string): Promise<void> {
  await store.close();
  const journal = join(root, '.gos3rve/journal');
  for (const name of readdirSync(journal)) {
    if (!name.endsWith('.jsonl')) continue;
    const path = join(journal, name);
    const lines = readFileSync(path, 'utf8').split('\n');
    // a line without its checksum is taken as it is
    writeFileSync(path, lines.map((line) => change(line).replace(/,"crc":"[0-9a-f]{8}"\}$/, '}')).join('\n'));
  }
  rmSync(join(root, '.gos3rve/index'), { recursive: true });
  store = await openStore(root, { minPartSize: 1 });
}
const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

describe('verify', () => {
  it('reads tree and overflow, whole and in parts, with every kind of checksum, and finds them whole', async () => {
    await put('plain', 'one');
    await put('sub/crc', 'two', 'CRC64NVME');
    await put('a//b', 'three', 'SHA256');
    for (const type of ['COMPOSITE', 'FULL_OBJECT'] as const) {
      const { uploadId } = await store.createUpload('b', type, { checksum: { algorithm: 'CRC32', type } });
      const parts = [];
      for (const partNumber of [1, 2]) {
        const part = await store.putPart('b', type, uploadId, partNumber, body(`part ${partNumber}`), {
          digests: { algorithms: ['CRC32'], store: 'CRC32' },
        });
        const checksums = part.checksum ? { [part.checksum.algorithm]: part.checksum.value } : {};
        parts.push({ partNumber, etag: part.etag, checksums });
      }
      await store.completeUpload('b', type, uploadId, parts);
    }
    writeFileSync(join(root, 'b/foreign'), 'nobody hashed me');
    expect(await run()).toMatchObject({ objects: 5, bytes: 35, damaged: 0, unreadable: 0, changed: 0, left: 0 });
  });

  it('finds whole what was appended to, in place or by a copy', async () => {
    const append = async (key: string): Promise<unknown> =>
      store.append('b', key, (await store.head('b', key)).size, body('piece'));
    await put('plain', 'one');
    await put('crc', 'one', 'CRC32C');
    await put('a//b', 'overflow', 'CRC32');
    await put('two', 'names');
    linkSync(join(root, 'b/two'), join(root, 'b/names'));
    const { uploadId } = await store.createUpload('b', 'parts', { checksum: { algorithm: 'SHA1', type: 'COMPOSITE' } });
    const digests = { algorithms: ['SHA1' as const], store: 'SHA1' as const };
    const { etag, checksum } = await store.putPart('b', 'parts', uploadId, 3, body('third'), { digests });
    await store.completeUpload('b', 'parts', uploadId, [
      { partNumber: 3, etag, checksums: { SHA1: checksum?.value ?? '' } },
    ]);
    writeFileSync(join(root, 'b/foreign'), 'nobody hashed me');
    writeFileSync(join(root, 'b/large'), Buffer.alloc(3 << 20, 'nobody hashed me'));
    const keys = ['plain', 'crc', 'a//b', 'two', 'parts', 'foreign', 'large'];
    for (let times = 1; times <= 3; times++) {
      for (const key of keys) await append(key);
      const { found, ...report } = await run();
      expect([...found]).toEqual([]);
      expect(report).toMatchObject({ damaged: 0, unreadable: 0, changed: 0, left: 0 });
      expect(report.objects).toBeGreaterThanOrEqual(keys.length);
    }
  });

  it('finds damage in what was appended to', async () => {
    await put('k', 'one');
    const { etag } = await store.append('b', 'k', 3, body('two'));
    await tamper((line) => line.replaceAll(etag, `${md5('other')}-2`));
    expect([...(await run()).found.values()]).toEqual([
      { state: 'damaged', what: 'ETag', recorded: `${md5('other')}-2`, read: etag },
    ]);
  });

  it('does not count files that are gone, noted or not, until they are back', async () => {
    await put('here', 'here');
    await put('gone', 'gone');
    await put('a//b', 'overflow');
    renameSync(join(root, 'b/gone'), join(root, 'away'));
    const due = async (): Promise<number> => {
      const page = (after?: Buffer) => store.verifier.page(undefined, after, 10);
      const first = page();
      return first.entries.length + (first.next ? page(first.next).entries.length : 0);
    };
    expect(await due()).toBe(2);
    await store.live.lookAtDir(['b'], { force: true, files: true });
    expect(await due()).toBe(2);
    expect(await run()).toMatchObject({ objects: 2, left: 0 });
    renameSync(join(root, 'away'), join(root, 'b/gone'));
    expect(await due()).toBe(3);
  });

  it('tells bytes that are not those recorded though nobody changed the file, again and again', async () => {
    await put('x/rotten', 'bytes');
    await put('x/fine', 'fine');
    await tamper((line) => line.replace(md5('bytes'), md5('other')));
    const first = await run();
    expect(first).toMatchObject({ objects: 2, damaged: 1, changed: 0 });
    expect(first.found.get('b/x/rotten')).toEqual({
      state: 'damaged',
      what: 'ETag',
      recorded: md5('other'),
      read: md5('bytes'),
    });
    expect((await run()).damaged).toBe(1);
    expect(readFileSync(join(root, 'b/x/rotten'), 'utf8')).toBe('bytes');
  });

  it('finds a wrong checksum where the MD5 is right', async () => {
    await put('k', 'bytes', 'SHA1');
    await tamper((line) => line.replace(/("SHA1".*?"value":")[^"]+/, '$1AAAA'));
    expect([...(await run()).found.values()]).toEqual([
      expect.objectContaining({ state: 'damaged', what: 'SHA1', recorded: 'AAAA' }),
    ]);
  });

  it('takes what another program wrote for changed, not damaged - with restored times too', async () => {
    await put('k', 'old!');
    const { atime, mtime } = statSync(join(root, 'b/k'));
    writeFileSync(join(root, 'b/k'), 'new!');
    utimesSync(join(root, 'b/k'), atime, mtime);
    await put('l', 'x');
    writeFileSync(join(root, 'b/l'), 'longer');
    expect(await run()).toMatchObject({ objects: 2, changed: 2, damaged: 0 });
  });

  it.each([4, 3 << 20])(
    'takes a file of %i bytes that was rewritten with restored times, then renamed, for changed, and tells its new ETag',
    async (size) => {
      const [old, fresh] = ['a'.repeat(size), 'b'.repeat(size)];
      const write = (text: string): void => {
        writeFileSync(join(root, 'b/k'), text);
        utimesSync(join(root, 'b/k'), 1_000_000, 1_000_000);
      };
      write(old);
      expect(await store.live.hashFile(['b'], 'k')).toBe('done');
      write(fresh);
      renameSync(join(root, 'b/k'), join(root, 'b/l'));
      await store.live.lookAtFile(['b'], 'l');
      expect(await run()).toMatchObject({ objects: 1, changed: 1, damaged: 0 });
      expect((await store.head('b', 'l')).etag).toBe(md5(fresh));
      expect(await run()).toMatchObject({ objects: 1, changed: 0, damaged: 0 });
    },
  );

  it('reads what was restored or touched, and takes it for proven where it holds what is recorded', async () => {
    await put('whole', 'whole', 'SHA256');
    await put('touched', 'touched');
    await put('o//ver', 'over');
    writeFileSync(join(root, 'b/theirs'), 'theirs');
    await store.live.hashFile(['b'], 'theirs');
    await store.close();
    execFileSync('cp', ['-a', root, `${root}.saved`]);
    rmSync(root, { recursive: true });
    renameSync(`${root}.saved`, root);
    rmSync(join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root, { minPartSize: 1, hash: 'off' });
    chmodSync(join(root, 'b/touched'), 0o600);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await run()).toMatchObject({ objects: 4, bytes: 22, damaged: 0, changed: 0 });
    expect(await run({ since: 3_600_000 })).toMatchObject({ objects: 0, left: 0 });
    await store.close();
    rmSync(join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root, { minPartSize: 1, hash: 'off' });
    const known = async (key: string) => (await store.head('b', key)).etag;
    for (const key of ['whole', 'touched', 'theirs']) expect(await known(key)).toBe(md5(key));
    expect(await known('o//ver')).toBe(md5('over'));
    expect((await store.head('b', 'whole')).checksum?.algorithm).toBe('SHA256');
  });

  it('takes a renamed file that it found whole for proven', async () => {
    await put('k', 'bytes');
    renameSync(join(root, 'b/k'), join(root, 'b/l'));
    await store.list('b', { prefix: '', delimiter: '', after: '', max: 10 });
    expect(await run()).toMatchObject({ objects: 1, changed: 0, damaged: 0 });
    const { hashes } = store.live;
    await store.head('b', 'l');
    await store.live.hashFile(['b'], 'l');
    expect(store.live.hashes).toBe(hashes);
  });

  it('reads only a prefix', async () => {
    await put('p/a', 'a');
    await put('p2/a', 'a');
    await put('p//odd', 'a');
    expect(await run({ scope: store.verifier.scope('b', 'p/') })).toMatchObject({ objects: 2 });
    expect(await run({ scope: store.verifier.scope('b', '') })).toMatchObject({ objects: 3 });
  });

  it('goes on where the last run ended, oldest first', async () => {
    for (let i = 0; i < 5; i++) await put(`k${i}`, `body ${i}`);
    expect(await run({ budget: 0 })).toMatchObject({ objects: 0, left: 5 });
    const abort = new AbortController();
    const stopped = run({
      signal: abort.signal,
      progress: ({ objects }) => {
        if (objects === 2) abort.abort(new Error('enough'));
      },
    });
    await expect(stopped).rejects.toThrow('enough');
    expect(await run({ since: 60_000 })).toMatchObject({ objects: 3, left: 0 });
    expect(await run({ since: 60_000 })).toMatchObject({ objects: 0 });
    expect(await run()).toMatchObject({ objects: 5 });
  });

  it('forgets that an object was found whole once it is written anew', async () => {
    await put('k', 'a');
    await run();
    await put('k', 'b');
    expect(await run({ since: 60_000 })).toMatchObject({ objects: 1 });
  });

  it('holds a rate', async () => {
    await put('k', 'x'.repeat(30_000));
    const started = performance.now();
    await run({ rate: 100_000 });
    expect(performance.now() - started).toBeGreaterThan(250);
  });
});
