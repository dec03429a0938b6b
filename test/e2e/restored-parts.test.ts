/** Parts of a multipart object whose file was restored or touched by another program, while nobody has hashed it again: told by the sizes that are recorded. */
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';
import { serve, type Server } from './harness.js';
import { send, type RawResponse } from './raw.js';

/** Too large to be hashed when it is asked for. */
const FIRST = 'a'.repeat(5 << 20);
const SECOND = 'second';

describe('a multipart object that nobody has hashed again', { timeout: 60_000 }, () => {
  let root: string;
  let etag: string;
  let server: Server | undefined;
  const file = (): string => path.join(root, 'box/big');

  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-parts-'));
    const store = await openStore(root);
    await store.createBucket('box', {});
    const { uploadId } = await store.createUpload('box', 'big', {});
    const parts = [];
    for (const [i, content] of [FIRST, SECOND].entries())
      parts.push(await store.putPart('box', 'big', uploadId, i + 1, body(content)));
    const refs = parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} }));
    ({ etag } = await store.completeUpload('box', 'big', uploadId, refs));
    await store.close();
  });
  afterEach(async () => {
    await server?.stop();
    server = undefined;
    await rm(root, { recursive: true });
  });

  const ask = async (method: string, number: number): Promise<RawResponse> => {
    // nobody hashes it meanwhile
    server ??= await serve(root, { args: ['--hash', 'off'] });
    return send(server.port, { method, target: `/box/big?partNumber=${number}` });
  };

  it.each([
    ['restored by cp -a', () => restore()],
    ['restored by tar, which knows whole seconds only', () => untar('box/big')],
    ['restored by tar with its whole root, but for the index', () => untar('.')],
    ['given another mode', () => chmod(file(), 0o600)],
  ])('is told by part when it was %s', async (_, act) => {
    await act();
    for (const method of ['GET', 'HEAD']) {
      const answer = await ask(method, 2);
      expect(answer.status, answer.raw).toBe(206);
      expect(answer.headers).toMatchObject({
        'content-range': `bytes ${FIRST.length}-${FIRST.length + 5}/${FIRST.length + 6}`,
        'x-amz-mp-parts-count': '2',
      });
      expect(answer.headers.etag).not.toBe(`"${etag}"`);
      expect(answer.body).toBe(method === 'GET' ? SECOND : '');
    }
    expect((await ask('HEAD', 3)).status).toBe(416);
  });

  it('has no parts any more when it is another file', async () => {
    await writeFile(file(), 'another');
    expect((await ask('HEAD', 2)).status).toBe(416);
    expect((await ask('GET', 1)).body).toBe('another');
  });

  /** @param what of the root: the rest stays. */
  async function untar(what: string): Promise<void> {
    await (await openStore(root)).close();
    execFileSync('tar', ['--format=gnu', '-cf', `${root}.tar`, '--exclude=index', what], { cwd: root });
    for (const gone of [what, '.gos3rve/index']) await rm(path.join(root, gone), { recursive: true, force: true });
    await mkdir(root, { recursive: true });
    execFileSync('tar', ['-xf', `${root}.tar`], { cwd: root });
    await rm(`${root}.tar`);
  }

  async function restore(): Promise<void> {
    execFileSync('cp', ['-a', file(), `${file()}.saved`]);
    await rename(`${file()}.saved`, file());
  }
});
