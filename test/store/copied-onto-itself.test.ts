/** An ETag that a client had been told of a file that nobody has hashed yet outlives a copy onto itself, which changes what is said of the key only. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';

it('keeps the ETag that was told of a file whose bytes were not known', async () => {
  const root = await mkdtemp(path.join(tmpdir(), 'gos3rve-itself-'));
  await mkdir(path.join(root, 'b'));
  const store = await openStore(root, { hash: 'off' });
  try {
    await writeFile(path.join(root, 'b', 'big'), Buffer.alloc(2 * 1024 * 1024, 'x'));
    const at = { bucket: 'b', key: 'big' };
    const { etag } = await store.head('b', 'big');
    expect(etag).toContain('-');
    const copied = await store.copy(at, at, { facts: () => ({ metadata: { who: 'me' } }) });
    const head = await store.head('b', 'big');
    expect(head.facts.metadata).toEqual({ who: 'me' });
    expect([copied.etag, head.etag]).toEqual([etag, etag]);
    const { etag: elsewhere } = await store.copy(at, { bucket: 'b', key: 'other' });
    expect(elsewhere).toMatch(/^[0-9a-f]{32}$/);
  } finally {
    await store.close();
    await rm(root, { recursive: true });
  }
});
