/** Staged bodies: whole and hashed, or nothing at all stays. And small files that are replaced atomically. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import type { Body, DigestPlan } from '../../src/base/model.js';
import { applyInherit, stageBody, type Staged } from '../../src/fs/stage.js';
import { writeFileAtomic } from '../../src/fs/statefile.js';
import { md5 } from '../suites/store/kit.js';

let directory = '';
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'gos3rve-stage-'));
});
afterEach(() => {
  fs.rmSync(directory, { recursive: true, force: true });
});
const openFds = (): number => (process.platform === 'linux' ? fs.readdirSync('/proc/self/fd').length : 0);

describe('a staged body', () => {
  const stage = (chunks: Uint8Array[], size?: number, plan: DigestPlan = { algorithms: [] }): Promise<Staged> =>
    stageBody(bodyOf(chunks, size), plan, { directory, owner: 'me', mode: 0o640 }, {}, true);
  function bodyOf(chunks: Uint8Array[], size: number | undefined, end?: Error): Body {
    async function* each(): AsyncGenerator<Uint8Array> {
      for (const chunk of chunks) {
        await new Promise((resolve) => setImmediate(resolve));
        yield chunk;
      }
      if (end) throw end;
    }
    return { chunks: each(), ...(size !== undefined && { size }) };
  }

  it('has the bytes in order, their digest and size, however they come', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.integer({ min: 0, max: 700_000 }), fc.integer({ min: 0, max: 30_000 })), { maxLength: 6 }),
        async (sizes) => {
          const chunks = sizes.map((size, i) => Buffer.alloc(size, i + 1));
          const all = Buffer.concat(chunks);
          const staged = await stage(chunks, all.length);
          expect(fs.readFileSync(staged.path).equals(all)).toBe(true);
          expect([staged.size, staged.digests.MD5.toString('hex'), Number(staged.stat.size)]).toEqual([
            all.length,
            md5(all),
            all.length,
          ]);
          expect(fs.statSync(staged.path, { bigint: true }).mtimeNs).toBe(staged.stat.mtimeNs);
        },
      ),
      { numRuns: 15 },
    );
  });

  it('leaves nothing behind that is short, long, broken or refused', async () => {
    await stage([Buffer.from('warm')]);
    for (const name of fs.readdirSync(directory)) fs.unlinkSync(path.join(directory, name));
    const before = openFds();
    const big = [Buffer.alloc(1_500_000), Buffer.alloc(1_500_000)];
    for (let n = 0; n < 5; n++) {
      await expect(stage(big, 3_000_001)).rejects.toMatchObject({ code: 'IncompleteBody' });
      await expect(stage(big, 2_999_999)).rejects.toMatchObject({ code: 'IncompleteBody' });
      const broken = bodyOf(big, undefined, new Error('connection lost'));
      await expect(
        stageBody(broken, { algorithms: [] }, { directory, owner: 'me', mode: 0o600 }, {}, false),
      ).rejects.toThrow('connection lost');
      const check = (): void => {
        throw new Error('wrong digest');
      };
      await expect(stage(big, undefined, { algorithms: ['CRC64NVME'], check })).rejects.toThrow('wrong digest');
      // small enough to be written in one go
      const small = [Buffer.from('all'), Buffer.from('of it')];
      await expect(stage(small, 9)).rejects.toMatchObject({ code: 'IncompleteBody' });
      await expect(stage(small, 7)).rejects.toMatchObject({ code: 'IncompleteBody' });
      await expect(stage(small, 8, { algorithms: [], check })).rejects.toThrow('wrong digest');
      const cut = bodyOf(small, 8, new Error('connection lost'));
      await expect(
        stageBody(cut, { algorithms: [] }, { directory, owner: 'me', mode: 0o600 }, {}, false),
      ).rejects.toThrow('connection lost');
    }
    expect(fs.readdirSync(directory)).toEqual([]);
    expect(openFds()).toBe(before);
  });

  it('is not for others until it is published: the given mode, in a folder of ours', async () => {
    fs.rmSync(directory, { recursive: true });
    const { path: file } = await stage([Buffer.from('x')]);
    expect(fs.statSync(file).mode & 0o777).toBe(0o640 & ~process.umask());
    expect(fs.statSync(directory).mode & 0o777).toBe(0o700);
  });
});

describe('a small file of ours', () => {
  it('is replaced whole, with its mode, and without a trace', () => {
    const file = path.join(directory, 'x.json');
    writeFileAtomic(file, 'one');
    const reader = fs.openSync(file, 'r');
    writeFileAtomic(file, 'second');
    expect(fs.readFileSync(reader, 'utf8')).toBe('one');
    fs.closeSync(reader);
    expect([fs.readFileSync(file, 'utf8'), fs.statSync(file).mode & 0o777]).toEqual(['second', 0o600]);
    expect(fs.readdirSync(directory)).toEqual(['x.json']);
  });

  it('leaves no temporary file when it cannot be put in place', () => {
    fs.mkdirSync(path.join(directory, 'x.json', 'full'), { recursive: true });
    const before = openFds();
    expect(() => writeFileAtomic(path.join(directory, 'x.json'), 'text')).toThrow();
    expect(fs.readdirSync(directory)).toEqual(['x.json']);
    expect(openFds()).toBe(before);
  });
});

describe.skipIf(process.platform === 'win32' || process.getuid?.() !== 0)(
  'mode and owner (needs root, for seteuid)',
  () => {
    /** What of a file of another user's stays, for a process that is not root. */
    function kept(inherit: { mode: number; uid: number; gid: number }): number[] {
      const fd = fs.openSync(path.join(directory, 'k'), 'w', 0o600);
      try {
        fs.fchownSync(fd, 1000, 1000);
        process.setegid?.(1000);
        process.seteuid?.(1000);
        applyInherit(fd, inherit);
        const { mode, uid, gid } = fs.fstatSync(fd);
        return [mode & 0o7777, uid, gid];
      } finally {
        process.seteuid?.(0);
        process.setegid?.(0);
        fs.closeSync(fd);
      }
    }
    it.each([
      ['another user of our group', { mode: 0o4664, uid: 1001, gid: 1000 }, [0o664, 1000, 1000]],
      ['another group may no more than everybody', { mode: 0o660, uid: 1000, gid: 1001 }, [0o600, 1000, 1000]],
      ['nor less than both may', { mode: 0o2764, uid: 1000, gid: 1001 }, [0o744, 1000, 1000]],
      ['nor run it as that group', { mode: 0o2775, uid: 1001, gid: 1001 }, [0o755, 1000, 1000]],
      ['all of our own', { mode: 0o2750, uid: 1000, gid: 1000 }, [0o2750, 1000, 1000]],
    ])('that cannot be kept do not open the file: %s', (_what, inherit, expected) => {
      expect(kept(inherit)).toEqual(expected);
    });
  },
);
