/** Another program writes to a file while it is appended to: what is told of its bytes afterwards is true, and nothing of theirs is cut off. */
import { appendFileSync, chmodSync, closeSync, fstatSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { mkdtemp, open, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { BUCKET, body, md5, refuses, text } from '../suites/store/kit.js';

const CRC = { digests: { algorithms: ['CRC32' as const], store: 'CRC32' as const } };

describe('an append while others write', () => {
  let root: string;
  let store: LocalStore;
  let handles: Pick<FileHandle, 'sync'>;
  const at = (): string => path.join(root, BUCKET, 'log');
  const sync = { real: (async () => undefined) as FileHandle['sync'] };

  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-append-'));
    store = await openStore(root);
    await store.createBucket(BUCKET, {});
    await store.put(BUCKET, 'log', body('old,'), { ...CRC, facts: { metadata: { kept: 'yes' } } });
    const probe = await open(root, 'r');
    handles = Object.getPrototypeOf(probe) as FileHandle;
    await probe.close();
    sync.real = handles.sync;
  });
  afterEach(async () => {
    handles.sync = sync.real;
    await store.close();
    await rm(root, { recursive: true });
  });

  /** Calls `act` when the piece is written, and not flushed yet. */
  const whenWritten = (act: () => void): void => {
    const { ino } = statSync(at());
    handles.sync = async function (this: FileHandle): Promise<void> {
      if (fstatSync(this.fd).ino === ino) {
        // another tick of the file system's clock
        await sleep(20);
        act();
      }
      return sync.real.call(this);
    };
  };
  const append = () => store.append(BUCKET, 'log', 4, body('new'), CRC);
  const honest = async (content: string): Promise<void> => {
    handles.sync = sync.real;
    expect(await readFile(at(), 'utf8')).toBe(content);
    expect(await text(store, 'log')).toBe(content);
    const info = await store.head(BUCKET, 'log');
    expect(info).toMatchObject({ size: content.length, etag: md5(content), facts: { metadata: { kept: 'yes' } } });
    expect(info.checksum).toBeUndefined();
  };

  it('forgets what it knew of the bytes when a line was added behind the piece', async () => {
    whenWritten(() => appendFileSync(at(), 'line'));
    await refuses(append(), 'OperationAborted');
    await honest('old,newline');
  });

  it.each([
    ['the old bytes', 0],
    ['the piece', 5],
  ])('forgets it too when %s were written over', async (_, position) => {
    whenWritten(() => {
      const fd = openSync(at(), 'r+');
      writeSync(fd, 'XX', position);
      closeSync(fd);
    });
    await refuses(append(), 'OperationAborted');
    await honest(position === 0 ? 'XXd,new' : 'old,nXX');
  });

  it('has the bytes proved when only the ctime was changed', async () => {
    whenWritten(() => chmodSync(at(), 0o600));
    const { etag } = await append();
    handles.sync = sync.real;
    expect(await store.head(BUCKET, 'log')).toMatchObject({ size: 7, etag, facts: { metadata: { kept: 'yes' } } });
    expect(etag).toMatch(/-2$/);
  });

  it('cuts off no line that others have added to a file that they have renamed meanwhile', async () => {
    whenWritten(() => {
      renameSync(at(), `${at()}.1`);
      appendFileSync(`${at()}.1`, 'line');
    });
    await refuses(append(), 'NoSuchKey');
    expect(await readFile(`${at()}.1`, 'utf8')).toBe('old,newline');
  });

  it('drops the set-id bits: what a client appends must not run as the owner', async () => {
    await writeFile(path.join(root, BUCKET, 'tool'), 'old,');
    chmodSync(path.join(root, BUCKET, 'tool'), 0o6755);
    await store.append(BUCKET, 'tool', 4, body('new'));
    expect(statSync(path.join(root, BUCKET, 'tool')).mode & 0o7777).toBe(0o755);
    expect(await text(store, 'tool')).toBe('old,new');
  });
});
