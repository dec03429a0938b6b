/** Another program writes to a file while it is appended to: what is told of its bytes afterwards is true, and nothing of theirs is cut off. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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
  let handles: Pick<FileHandle, 'sync' | 'write'>;
  const told: Record<string, unknown>[] = [];
  const at = (): string => path.join(root, BUCKET, 'log');
  const sync = { real: (async () => undefined) as FileHandle['sync'] };
  const write = { real: undefined as unknown as FileHandle['write'] };

  beforeEach(async () => {
    root = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-append-'));
    told.length = 0;
    store = await openStore(root, { log: (level, message, data) => told.push({ level, message, ...data }) });
    await store.createBucket(BUCKET, {});
    await store.put(BUCKET, 'log', body('old,'), { ...CRC, facts: { metadata: { kept: 'yes' } } });
    const probe = await open(root, 'r');
    handles = Object.getPrototypeOf(probe) as FileHandle;
    await probe.close();
    sync.real = handles.sync;
    write.real = handles.write;
  });
  afterEach(async () => {
    handles.sync = sync.real;
    handles.write = write.real;
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

  /** Does `write` instead of the file's own; `real` writes so many bytes. */
  const writing = (instead: (real: (length: number) => ReturnType<FileHandle['write']>) => Promise<unknown>): void => {
    const { ino } = statSync(at());
    const real = write.real as (...args: unknown[]) => ReturnType<FileHandle['write']>;
    handles.write = async function (this: FileHandle, buffer: Buffer, offset: number, length: number, position: null) {
      const some = (count: number) => real.call(this, buffer, offset, count, position);
      if (fstatSync(this.fd).ino !== ino) return some(length);
      return instead(some);
    } as FileHandle['write'];
  };

  it('takes the piece out again that came to stand behind bytes of others', async () => {
    writing((real) => {
      appendFileSync(at(), 'line');
      return real(3);
    });
    await expect(append()).rejects.toThrow(/Nothing of what was sent is in it/);
    handles.write = write.real;
    await honest('old,line');
    expect(told).toEqual([]);
  });

  it('leaves it there if others have written behind it, too', async () => {
    writing(async (real) => {
      appendFileSync(at(), 'line,');
      const done = await real(3);
      appendFileSync(at(), ',more');
      return done;
    });
    await refuses(append(), 'OperationAborted');
    handles.write = write.real;
    await honest('old,line,new,more');
  });

  it('stops when others come in between two writes, and tells which bytes stay', async () => {
    let first = true;
    writing(async (real) => {
      if (!first) return real(2);
      first = false;
      const done = await real(1);
      appendFileSync(at(), 'line');
      return done;
    });
    await expect(append()).rejects.toThrow(/1 bytes of what was sent were written, at offset 4/);
    handles.write = write.real;
    await honest('old,nline');
    expect(told).toMatchObject([{ level: 'error', file: 'box/log', offset: 4, bytes: 1 }]);
  });

  it('is cut back after a write that came to half', async () => {
    let first = true;
    writing((real) => {
      if (!first) return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
      first = false;
      return real(2);
    });
    const before = await store.head(BUCKET, 'log');
    await expect(append()).rejects.toThrow();
    handles.write = write.real;
    expect(await readFile(at(), 'utf8')).toBe('old,');
    const { lastModified: _cut, changed: _too, aliases: _derived, ...same } = before;
    expect(await store.head(BUCKET, 'log')).toMatchObject(same);
    expect(await store.append(BUCKET, 'log', 4, body('new'))).toMatchObject({ size: 7 });
  });

  it('writes nothing over, and nothing into a large piece, while others append', async () => {
    const piece = Buffer.alloc(24 << 20, 'p');
    const lines: string[] = [];
    let done = false;
    const appending = store.append(BUCKET, 'log', 4, body(piece)).then(
      () => 'done',
      (error: Error & { code?: string }) => error.code,
    );
    void appending.finally(() => (done = true));
    while (!done) {
      if (statSync(at()).size > 4) {
        lines.push(`<${lines.length}>`);
        appendFileSync(at(), lines.at(-1) ?? '');
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await appending).toBe(lines.length > 0 ? 'OperationAborted' : 'done');
    const content = await readFile(at());
    expect(content.equals(Buffer.concat([Buffer.from('old,'), piece, Buffer.from(lines.join(''))]))).toBe(true);
  });

  it('drops the set-id bits: what a client appends must not run as the owner', async () => {
    await writeFile(path.join(root, BUCKET, 'tool'), 'old,');
    chmodSync(path.join(root, BUCKET, 'tool'), 0o6755);
    await store.append(BUCKET, 'tool', 4, body('new'));
    expect(statSync(path.join(root, BUCKET, 'tool')).mode & 0o7777).toBe(0o755);
    expect(await text(store, 'tool')).toBe('old,new');
  });

  it.runIf(process.platform === 'linux')('makes another file of a program that is running', async () => {
    const program = path.join(root, BUCKET, 'tool');
    const old = await readFile(process.execPath);
    await writeFile(program, old, { mode: 0o755 });
    const child = spawn(program, ['-e', 'process.stdin.resume(); console.log()'], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    try {
      await once(child.stdout, 'data');
      expect(await store.append(BUCKET, 'tool', old.length, body('new'))).toMatchObject({ size: old.length + 3 });
    } finally {
      child.kill();
      await once(child, 'close');
    }
    expect((await readFile(program)).subarray(-3).toString()).toBe('new');
    expect(statSync(program).mode & 0o777).toBe(0o755);
  });
});
