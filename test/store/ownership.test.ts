/** Whose a new file is, and what an overwrite leaves of mode and owner. */
import fs, {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

const ROOT = process.platform === 'linux' && process.getuid?.() === 0;
const GROUP = 4242;

describe.skipIf(!ROOT)('owner and group (needs root, for chown)', () => {
  let root: string;
  let store: LocalStore | undefined;
  const at = (...names: string[]): string => join(root, ...names);
  const shared = (path: string): void => {
    mkdirSync(path);
    chownSync(path, 0, GROUP);
    chmodSync(path, 0o2775);
  };
  const open = async (umask?: number): Promise<LocalStore> =>
    (store = await openStore(root, { minPartSize: 1, ...(umask !== undefined && { umask }) }));
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), 'gos3rve-owners-')));
  });
  afterEach(async () => {
    await store?.close();
    store = undefined;
    rmSync(root, { recursive: true });
  });

  it('a folder with the set-group-id bit gives its group to each object that is made in it, and its bit to folders', async () => {
    shared(at('b'));
    const opened = await open(0o002);
    await opened.put('b', 'put', body('1'));
    await opened.put('b', 'sub/sub/put', body('1'));
    await opened.copy({ bucket: 'b', key: 'put' }, { bucket: 'b', key: 'copied' });
    const { uploadId } = await opened.createUpload('b', 'parts', {});
    const { etag } = await opened.putPart('b', 'parts', uploadId, 1, body('1'));
    await opened.completeUpload('b', 'parts', uploadId, [{ partNumber: 1, etag, checksums: {} }]);
    await opened.append('b', 'appended', 0, body('1'));
    for (const key of ['put', 'sub/sub/put', 'copied', 'parts', 'appended']) {
      expect(statSync(at('b', key)).gid, key).toBe(GROUP);
      expect(statSync(at('b', key)).mode & 0o7777, key).toBe(0o664);
    }
    for (const folder of ['sub', 'sub/sub']) {
      expect(statSync(at('b', folder)).gid, folder).toBe(GROUP);
      expect(statSync(at('b', folder)).mode & 0o7777, folder).toBe(0o2775);
    }
  });

  it('a root with the bit gives its group to no bucket without it', async () => {
    chownSync(root, 0, GROUP);
    chmodSync(root, 0o2755);
    mkdirSync(at('b'));
    chownSync(at('b'), 0, 0);
    chmodSync(at('b'), 0o755);
    await (await open()).put('b', 'k', body('1'));
    expect(statSync(at('b/k')).gid).toBe(0);
  });

  it('a folder of another user gives its owner and group to all that root makes in it', async () => {
    mkdirSync(at('b'));
    chownSync(at('b'), 1000, GROUP);
    chownSync(root, 1000, GROUP);
    const opened = await open(0o022);
    await opened.createBucket('made', {});
    await opened.put('b', 'put', body('1'));
    await opened.put('b', 'sub/sub/put', body('1'));
    await opened.put('b', 'marker/', body(''));
    await opened.copy({ bucket: 'b', key: 'put' }, { bucket: 'b', key: 'copies/copied' });
    const { uploadId } = await opened.createUpload('b', 'parts', {});
    const { etag } = await opened.putPart('b', 'parts', uploadId, 1, body('1'));
    await opened.completeUpload('b', 'parts', uploadId, [{ partNumber: 1, etag, checksums: {} }]);
    await opened.append('b', 'appended', 0, body('1'));
    await opened.move({ bucket: 'b', key: 'put' }, { bucket: 'made', key: 'moved/to/here' });
    for (const path of ['b/sub/sub/put', 'b/copies/copied', 'b/parts', 'b/appended', 'made/moved/to/here'])
      expect(ownerAndMode(at(path)), path).toEqual([1000, GROUP, 0o644]);
    for (const path of ['made', 'b/sub', 'b/sub/sub', 'b/marker', 'b/copies', 'made/moved', 'made/moved/to'])
      expect(ownerAndMode(at(path)), path).toEqual([1000, GROUP, 0o755]);
  });

  it('that cannot be given away is not left behind', async () => {
    mkdirSync(at('b'));
    chownSync(at('b'), 1000, GROUP);
    const opened = await open();
    const { openSync } = fs;
    fs.openSync = (path, ...more) => {
      if (String(path).endsWith('/made')) throw Object.assign(new Error('EMFILE'), { code: 'EMFILE' });
      return openSync(path, ...more);
    };
    syncBuiltinESMExports();
    try {
      await expect(opened.put('b', 'made/k', body('1'))).rejects.toMatchObject({ code: 'SlowDown' });
    } finally {
      Object.assign(fs, { openSync });
      syncBuiltinESMExports();
    }
    expect(existsSync(at('b/made'))).toBe(false);
    await opened.put('b', 'made/k', body('1'));
    expect(ownerAndMode(at('b/made'))).toEqual([1000, GROUP, 0o755]);
  });

  it('an overwrite keeps owner, group and mode', async () => {
    mkdirSync(at('b'));
    writeFileSync(at('b/k'), 'old');
    chownSync(at('b/k'), 1000, GROUP);
    chmodSync(at('b/k'), 0o640);
    await (await open()).put('b', 'k', body('new'));
    expect(ownerAndMode(at('b/k'))).toEqual([1000, GROUP, 0o640]);
    expect(readFileSync(at('b/k'), 'utf8')).toBe('new');
  });
});

function ownerAndMode(path: string): number[] {
  const { uid, gid, mode } = statSync(path);
  return [uid, gid, mode & 0o7777];
}
