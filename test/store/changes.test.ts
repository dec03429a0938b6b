/** The feed of changes: every change once, in order, of every process, from any position on. */
import { link, mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Catalog } from '../../src/catalog/catalog.js';
import { compact } from '../../src/catalog/compact.js';
import type { Change, ChangeReader, Position } from '../../src/store/changes-contract.js';
import { openStore, type LocalStore } from '../../src/store/open.js';
import { body } from '../suites/store/kit.js';

let root: string;
let store: LocalStore;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'gos3rve-changes-'));
  await mkdir(join(root, 'box'));
  store = await openStore(root, { aliases: { inner: 'box/a' }, exclude: ['*.tmp'] }).catch(async () => {
    await mkdir(join(root, 'box/a'));
    return openStore(root, { aliases: { inner: 'box/a' }, exclude: ['*.tmp'] });
  });
});
afterEach(async () => {
  await store.close();
  await rm(root, { recursive: true, force: true });
});

const put = (key: string, content = key, in_ = store) => in_.put('box', key, body(content));
const movePrefix = (from: string, to: string) =>
  store.movePrefix({ bucket: 'box', key: from }, { bucket: 'box', key: to });
const shown = (changes: Change[]): string[] =>
  changes.map(({ event, names }) => `${event} ${names.map(({ bucket, key }) => `${bucket}/${key}`).join(' ')}`);
const all = (reader: ChangeReader): Change[] => reader.next(10_000);

describe('the feed of changes', () => {
  it('names what every method does, with who asked, sizes and ETags, under every bucket that shows it', async () => {
    await put('before');
    const reader = store.changes.read('now');
    const via = { principal: 'ALICE', ip: '192.0.2.1', requestId: 'R1' };
    await store.put('box', 'a/one', body('one'), { via });
    await store.copy({ bucket: 'box', key: 'a/one' }, { bucket: 'box', key: 'two' }, { via });
    await store.move({ bucket: 'box', key: 'two' }, { bucket: 'box', key: 'three' });
    await store.updateFacts('box', 'three', (facts) => ({ ...facts, tags: [['a', 'b']] }), {
      via: { event: 'ObjectTagging:Put' },
    });
    await store.put('box', 'dir/', body(''));
    await store.delete('box', 'dir/');
    await store.put('box', 'x//y', body('over'));
    await store.delete('box', 'x//y');
    await store.delete('box', 'nothing');
    await store.delete('box', 'a/one', { via });
    const changes = all(reader);
    expect(shown(changes)).toEqual([
      'ObjectCreated:Put box/a/one inner/one',
      'ObjectCreated:Copy box/two',
      'ObjectRemoved:Delete box/two',
      'ObjectCreated:Copy box/three',
      'ObjectTagging:Put box/three',
      'ObjectCreated:Put box/dir/',
      'ObjectRemoved:Delete box/dir/',
      'ObjectCreated:Put box/x//y',
      'ObjectRemoved:Delete box/x//y',
      'ObjectRemoved:Delete box/a/one inner/one',
    ]);
    expect(changes[0]).toMatchObject({ ...via, size: 3, etag: 'f97c5d29941bfb1b2fdab0874906ab82' });
    expect(Math.abs((changes[0]?.time ?? 0) - Date.now())).toBeLessThan(10_000);
    expect(all(reader)).toEqual([]);
  });

  it('names uploads in parts and appends', async () => {
    const reader = store.changes.read('now');
    const upload = await store.createUpload('box', 'big', {});
    const part = await store.putPart('box', 'big', upload.uploadId, 1, body('part'));
    await store.completeUpload('box', 'big', upload.uploadId, [{ partNumber: 1, etag: part.etag, checksums: {} }]);
    await store.append('box', 'big', 4, body('more'));
    const changes = all(reader);
    expect(shown(changes)).toEqual(['ObjectCreated:CompleteMultipartUpload box/big', 'ObjectCreated:Put box/big']);
    expect(changes.map(({ size }) => size)).toEqual([4, 8]);
  });

  it('goes on where it was left, and sees other processes in the order of their numbers', async () => {
    const other = await openStore(root);
    const reader = store.changes.read('now');
    for (let n = 0; n < 50; n++) await put(`k${n}`, 'x', n % 2 === 0 ? store : other);
    await other.close();
    const first = reader.next(20);
    expect(first).toHaveLength(20);
    const later = store.changes.read(JSON.parse(JSON.stringify(reader.position())) as Position);
    const rest = all(later);
    expect([...first, ...rest].map(({ names }) => names[0]?.key)).toEqual(
      Array.from({ length: 50 }, (_, n) => `k${n}`),
    );
    expect(all(later)).toEqual([]);
    const again = store.changes.read({ seq: later.position().seq - 3 });
    expect(all(again)).toHaveLength(3);
  });

  it('gives no line of a write that has not ended', async () => {
    const reader = store.changes.read('now');
    await Promise.all(Array.from({ length: 40 }, (_, n) => put(`p${n}`)));
    const seqs = all(reader).map(({ seq }) => seq);
    expect(seqs).toHaveLength(40);
    expect(seqs).toEqual([...seqs].sort((a, b) => a - b));
  });

  it('tells of outside changes that were noted, once each, and of no others', async () => {
    const reader = store.changes.read('now');
    const see = (name: string, event: 'created' | 'removed'): boolean => {
      all(reader);
      return store.changes.see({ dirs: ['box'], name, event }, reader.told(`box/${name}`));
    };
    await writeFile(join(root, 'box/new'), 'hello');
    expect(see('new', 'removed')).toBe(false);
    expect(see('new', 'created')).toBe(true);
    expect(store.changes.see({ dirs: ['box'], name: 'new', event: 'created' }, undefined)).toBe(true);
    const changes = all(reader);
    expect(shown(changes)).toEqual(['ObjectCreated:Put box/new']);
    expect(changes[0]).toMatchObject({ outside: true, size: 5 });
    expect(see('new', 'created')).toBe(false);
    await put('ours');
    expect(see('ours', 'created')).toBe(false);
    await unlink(join(root, 'box/new'));
    expect(see('new', 'removed')).toBe(true);
    expect(shown(all(reader))).toEqual(['ObjectRemoved:Delete box/new']);
    expect(see('new', 'removed')).toBe(false);
    expect(see('never-there', 'removed')).toBe(false);
    await writeFile(join(root, 'box/litter.tmp'), 'x');
    expect(see('litter.tmp', 'created')).toBe(false);
  });

  it('tells of no object as gone whose name is a link to its file by now, and of the other name as new', async () => {
    await writeFile(join(root, 'box/moved'), 'moved');
    await writeFile(join(root, 'box/real'), 'real');
    for (const key of ['moved', 'real']) await store.head('box', key);
    const reader = store.changes.read('now');
    const came = async (name: string): Promise<string[]> => {
      await store.head('box', name);
      store.changes.see({ dirs: ['box'], name, event: 'created' }, reader.told(`box/${name}`));
      return shown(all(reader));
    };
    await rename(join(root, 'box/moved'), join(root, 'box/name'));
    await symlink('name', join(root, 'box/moved'));
    expect(await came('name')).toEqual(['ObjectCreated:Put box/name']);
    await symlink('real', join(root, 'box/link'));
    expect(await came('link')).toEqual(['ObjectCreated:Put box/link']);
    await link(join(root, 'box/real'), join(root, 'box/hard'));
    expect(await came('hard')).toEqual(['ObjectCreated:Put box/hard']);
    // links that lead elsewhere, or nowhere, by now
    await rename(join(root, 'box/hard'), join(root, 'box/other'));
    await symlink('name', join(root, 'box/hard'));
    expect(await came('other')).toEqual(['ObjectCreated:Put box/other']);
    expect(await came('hard')).toEqual(['ObjectCreated:Put box/hard']);
    for (const key of ['real', 'other']) await rename(join(root, 'box', key), join(root, 'box', `${key}-new`));
    expect(await came('real-new')).not.toContain('ObjectRemoved:Delete box/link');
    expect(store.changes.see({ dirs: ['box'], name: 'link', event: 'removed' }, reader.told('box/link'))).toBe(true);
    expect(shown(all(reader))).toEqual(['ObjectRemoved:Delete box/link']);
    await rm(join(root, 'box/link'));
    await symlink('real-new', join(root, 'box/link'));
    expect(await came('link')).toEqual(['ObjectCreated:Put box/link']);
  });

  it('lets every process know that outside changes are wanted', async () => {
    const other = await openStore(root);
    expect(other.changes.wanted).toBe(false);
    store.changes.want(60_000);
    await new Promise((resolve) => setTimeout(resolve, 5));
    other.changes.position();
    expect(other.changes.wanted).toBe(true);
    await other.close();
  });

  it('says how many changes a compaction took away, and loses none that somebody still has to read', async () => {
    for (let n = 0; n < 5; n++) await put(`a${n}`);
    const { seq } = store.changes.read('now').position();
    await mkdir(join(root, '.gos3rve/events'), { recursive: true });
    const hold = () =>
      writeFile(join(root, '.gos3rve/events/cursor.json'), JSON.stringify({ seq: seq - 2, time: Date.now() }));
    await hold();
    const { core } = store as unknown as { core: { catalog: Catalog } };
    await compact(core.catalog);
    const behind = store.changes.read({ seq: seq - 2 });
    expect(shown(all(behind))).toEqual(['ObjectCreated:Put box/a3', 'ObjectCreated:Put box/a4']);
    expect(behind.takeLost()).toBe(0);
    await rm(join(root, '.gos3rve/events/cursor.json'));
    await compact(core.catalog);
    await put('b');
    const late = store.changes.read({ seq: seq - 2 });
    expect(shown(all(late))).toEqual(['ObjectCreated:Put box/b']);
    expect(late.takeLost()).toBe(2);
  });

  it('takes for new what others put into a folder that a client has made, though nobody has read it before', async () => {
    store.changes.wantAlways(true);
    await put('d/e/ours');
    await put('m/', '');
    await store.createBucket('more', {});
    await store.put('more', 'ours', body('ours'));
    const theirs = ['box/d/one', 'box/d/e/two', 'box/m/three', 'more/four'];
    for (const path of theirs) await writeFile(join(root, path), 'theirs');
    for (const path of theirs) await store.live.lookAtDir(path.split('/').slice(0, -1));
    const found = store.live.untold(undefined, 100).entries.map(({ dirs, name }) => [...dirs, name].join('/'));
    expect(found.sort()).toEqual(theirs.sort());
  });

  it('tells of a file that another program renamed', async () => {
    await put('a/old', 'content');
    const reader = store.changes.read('now');
    await rename(join(root, 'box/a/old'), join(root, 'box/a/new'));
    await store.head('box', 'a/new');
    const changes = shown(all(reader)).sort();
    if (changes.length > 0)
      expect(changes).toEqual(['ObjectCreated:Put box/a/new inner/new', 'ObjectRemoved:Delete box/a/old inner/old']);
  });

  it('tells of all below a prefix that was moved, once, also if it went on since, and of nothing from outside', async () => {
    for (const key of ['p/one', 'p/sub/two', 'p/m/', 'p//odd']) await put(key, key.endsWith('/') ? '' : key);
    const reader = store.changes.read('now');
    const via = { principal: 'ALICE' };
    const move = (from: string, to: string) =>
      store.movePrefix({ bucket: 'box', key: from }, { bucket: 'box', key: to }, { via });
    const told = (from: string, to: string): string[] =>
      ['/odd', 'm/', 'one', 'sub/two'].flatMap((key) => [
        `ObjectCreated:Copy box/${to}${key}`,
        `ObjectRemoved:Delete box/${from}${key}`,
      ]);
    await move('p/', 'q/');
    const changes = all(reader);
    expect(shown(changes).sort()).toEqual(told('p/', 'q/').sort());
    for (const change of changes) {
      expect(change.outside).toBeUndefined();
      expect(change.principal).toBe('ALICE');
    }
    expect(changes.find(({ names }) => names[0]?.key === 'q//odd')).toMatchObject({ size: 6 });
    await store.live.lookAtDir(['box'], { force: true });
    await store.live.lookAtDir(['box', 'q'], { force: true });
    expect(all(reader)).toEqual([]);
    await store.delete('box', 'q//odd');
    all(reader);
    await move('q/', 'r/');
    await move('r/', 's/');
    const both = [...told('q/', 'r/'), ...told('r/', 's/')].filter((one) => !one.endsWith('odd'));
    expect(shown(all(reader)).sort()).toEqual(both.sort());
  });

  it('tells of markers and of keys that are no paths below a folder that another program renamed', async () => {
    for (const key of ['p/plain', 'p/x//over', 'p/m/']) await put(key, key.endsWith('/') ? '' : key);
    for (const dirs of [['box'], ['box', 'p']]) await store.live.lookAtDir(dirs);
    const reader = store.changes.read('now');
    await rename(join(root, 'box/p'), join(root, 'box/q'));
    await store.live.lookAtDir(['box']);
    const changes = all(reader);
    expect(shown(changes).sort()).toEqual(
      ['m/', 'plain', 'x//over']
        .flatMap((key) => [`ObjectCreated:Put box/q/${key}`, `ObjectRemoved:Delete box/p/${key}`])
        .sort(),
    );
    expect(changes.every(({ outside }) => outside === true)).toBe(true);
    expect(changes.find(({ names }) => names[0]?.key === 'q/x//over')).toMatchObject({ size: 9 });
    // a bucket is a folder, too
    await rename(join(root, 'box'), join(root, 'crate'));
    await store.live.lookAtDir([]);
    const both = shown(all(reader)).filter((one) => !one.includes('inner/'));
    expect(both.sort()).toEqual(
      ['m/', 'plain', 'x//over']
        .flatMap((key) => [`ObjectCreated:Put crate/q/${key}`, `ObjectRemoved:Delete box/q/${key}`])
        .sort(),
    );
  });

  it('tells of the old keys of what went after its prefix was moved, to whoever reads it all later', async () => {
    for (const key of ['p/deleted', 'p/removed', 'p/kept']) await put(key);
    await store.live.lookAtDir(['box', 'p']);
    const reader = store.changes.read('now');
    const move = (from: string, to: string) =>
      store.movePrefix({ bucket: 'box', key: from }, { bucket: 'box', key: to });
    await move('p/', 'q/');
    await move('q/', 'r/');
    await unlink(join(root, 'box/r/removed'));
    await store.live.lookAtDir(['box', 'r'], { files: true });
    await store.delete('box', 'r/deleted');
    const changes = shown(all(reader));
    for (const key of ['p/deleted', 'q/deleted', 'r/deleted', 'p/removed', 'q/removed', 'p/kept', 'q/kept'])
      expect(changes.filter((one) => one === `ObjectRemoved:Delete box/${key}`)).toHaveLength(1);
    expect(changes.at(-1)).toBe('ObjectRemoved:Delete box/r/deleted');
    expect(changes.filter((one) => one.includes('Created') && !one.endsWith('/kept'))).toEqual([]);
    // what came and went later has no older key
    await put('r/new');
    await store.delete('box', 'r/new');
    expect(shown(all(reader))).toEqual(['ObjectCreated:Put box/r/new', 'ObjectRemoved:Delete box/r/new']);
  });

  it.each([
    ['gos3rve', (from: string, to: string) => movePrefix(`${from}/`, `${to}/`)],
    [
      'another program',
      async (from: string, to: string) => {
        await rename(join(root, 'box', from), join(root, 'box', to));
        await store.live.lookAtDir(['box']);
      },
    ],
  ])(
    'tells of the old keys of all that left a folder after %s renamed it, to whoever reads it later',
    async (_who, move) => {
      const keys = ['x', 'y', 'over', 'out', 'm/', 'e/z', 'e/g/w', 'e/m/', 'f/z', 'kept'];
      for (const key of keys) await put(`k/${key}`, key.endsWith('/') ? '' : key);
      for (const dirs of [[], ['e'], ['e', 'g'], ['f']])
        await store.live.lookAtDir(['box', 'k', ...dirs], { files: true });
      store.changes.wantAlways(true);
      const readers = [store.changes.read('now')];
      readers.push(store.changes.read(readers[0]?.position() ?? 'now'));
      await move('k', 'n');
      await store.delete('box', 'n/x');
      await store.move({ bucket: 'box', key: 'n/y' }, { bucket: 'box', key: 'w' });
      await put('n/over', 'newer');
      await store.delete('box', 'n/m/');
      await movePrefix('n/e/', 'z/');
      await movePrefix('z/g/', 'zz/');
      await rename(join(root, 'box/n/f'), join(root, 'box/outside'));
      await rename(join(root, 'box/n/out'), join(root, 'box/out'));
      for (const dirs of [[], ['n'], ['outside']]) await store.live.lookAtDir(['box', ...dirs], { files: true });
      const [reader, stopped] = readers;
      if (!reader || !stopped) throw new Error('no reader');
      // it ends before all is read
      stopped.next(1);
      const position = JSON.stringify(stopped.position());
      for (const one of [reader, store.changes.read(JSON.parse(position) as Position)]) {
        const changes = shown(all(one));
        for (const key of keys)
          expect(changes.filter((change) => change === `ObjectRemoved:Delete box/k/${key}`)).toHaveLength(1);
        const last = new Map(
          changes.map((change) => change.split(' ')).map(([event = '', name = '']) => [name, event]),
        );
        const there = [...last].filter(([, event]) => event.startsWith('ObjectCreated')).map(([name]) => name);
        const listed = ['n/kept', 'n/over', 'out', 'outside/z', 'w', 'z/m/', 'z/z', 'zz/w'].map((key) => `box/${key}`);
        expect(there.sort()).toEqual(listed);
        expect(changes.indexOf('ObjectRemoved:Delete box/k/x')).toBeLessThan(
          changes.indexOf('ObjectRemoved:Delete box/n/x'),
        );
      }
      // what comes and goes later has no older key
      await put('n/new');
      await store.delete('box', 'n/new');
      await put('n/kept', 'again');
      const changes = ['ObjectCreated:Put box/n/new', 'ObjectRemoved:Delete box/n/new', 'ObjectCreated:Put box/n/kept'];
      expect(shown(all(reader))).toEqual(changes);
    },
  );

  it.each([
    ['with the index', false],
    ['with the index lost', true],
  ])('tells once of a file that went, also when its folder goes on after a restart, %s', async (_how, lost) => {
    for (const key of ['p/gone', 'p/kept']) await put(key);
    store.changes.wantAlways(true);
    await store.live.lookAtDir(['box', 'p'], { files: true });
    const reader = store.changes.read('now');
    await unlink(join(root, 'box/p/gone'));
    await store.live.lookAtFile(['box', 'p'], 'gone');
    expect(store.changes.see({ dirs: ['box', 'p'], name: 'gone', event: 'removed' }, reader.told('box/p/gone'))).toBe(
      true,
    );
    expect(shown(all(reader))).toEqual(['ObjectRemoved:Delete box/p/gone']);
    await store.close();
    if (lost) await rm(join(root, '.gos3rve/index'), { recursive: true });
    store = await openStore(root);
    store.changes.wantAlways(true);
    const after = store.changes.read(JSON.parse(JSON.stringify(reader.position())) as Position);
    const look = async (dir: string): Promise<void> => {
      for (const dirs of [['box'], ['box', dir]]) await store.live.lookAtDir(dirs, { files: true, force: true });
      for (const { dirs, name, event } of store.live.untold(undefined, 100).entries)
        store.changes.see({ dirs, name, event }, after.told([...dirs, name].join('/')));
    };
    await look('p');
    expect(shown(all(after))).toEqual([]);
    await rename(join(root, 'box/p'), join(root, 'box/q'));
    await look('q');
    expect(shown(all(after)).sort()).toEqual(['ObjectCreated:Put box/q/kept', 'ObjectRemoved:Delete box/p/kept']);
    await store.movePrefix({ bucket: 'box', key: 'q/' }, { bucket: 'box', key: 'r/' });
    await look('r');
    expect(shown(all(after)).sort()).toEqual(['ObjectCreated:Copy box/r/kept', 'ObjectRemoved:Delete box/q/kept']);
  });

  it('tells whoever reads it later of each object below a moved prefix as it was at each line', async () => {
    for (const key of ['p/kept', 'p/over', 'p/said', 'p/over-and-deleted']) await put(key, 'old');
    await store.live.lookAtDir(['box', 'p']);
    const now = store.changes.read('now').position();
    const behind = [store.changes.read(now), store.changes.read({ seq: 0 })];
    const move = (from: string, to: string) =>
      store.movePrefix({ bucket: 'box', key: from }, { bucket: 'box', key: to });
    // it has read what was before, and nothing after
    behind[1]?.next(4);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await move('p/', 'q/');
    await put('q/over', 'newer');
    await put('q/over-and-deleted', 'newer');
    await put('q/made', 'made');
    const facts = { via: { event: 'ObjectTagging:Put' } };
    await store.updateFacts('box', 'q/said', (old) => ({ ...old, tags: [['a', 'b']] }), facts);
    await store.delete('box', 'q/over-and-deleted');
    await move('q/', 'r/');
    await put('r/made2', 'made');
    for (const reader of behind) {
      const changes = all(reader);
      const at = (one: string): number => shown(changes).indexOf(one);
      const removed = shown(changes).filter((one) => one.startsWith('ObjectRemoved'));
      expect(removed.sort()).toEqual(
        [
          'p/kept',
          'p/over',
          'p/over-and-deleted',
          'p/said',
          'q/kept',
          'q/made',
          'q/over',
          'q/over-and-deleted',
          'q/said',
        ]
          .map((key) => `ObjectRemoved:Delete box/${key}`)
          .sort(),
      );
      expect(at('ObjectCreated:Copy box/q/made')).toBe(-1);
      expect(at('ObjectCreated:Copy box/r/made2')).toBe(-1);
      expect(at('ObjectRemoved:Delete box/p/over')).toBeLessThan(at('ObjectCreated:Put box/q/over'));
      expect(at('ObjectRemoved:Delete box/q/over')).toBeGreaterThan(at('ObjectCreated:Put box/q/over'));
      // by the last of a key everybody knows what it is
      const sizes = new Map(changes.map(({ event, names, size }) => [`${event} ${names[0]?.key ?? ''}`, size]));
      expect(sizes.get('ObjectCreated:Put q/over')).toBe(5);
      expect(sizes.get('ObjectCreated:Copy q/over') ?? 3).toBe(3);
      expect(sizes.get('ObjectCreated:Copy r/over')).toBe(5);
      expect(sizes.get('ObjectCreated:Copy r/made')).toBe(4);
      for (const key of ['kept', 'said'])
        for (const dir of ['q', 'r']) expect(sizes.get(`ObjectCreated:Copy ${dir}/${key}`)).toBe(3);
    }
  });

  it('tells of a folder that another program renamed as it was then, whatever clients did in it before anybody read of it', async () => {
    for (const key of ['kept', 'over', 'said', 'grown']) await put(`p/${key}`);
    await writeFile(join(root, 'box/p/hashed'), 'hashed');
    await store.live.lookAtDir(['box', 'p'], { files: true });
    const reader = store.changes.read('now');
    await rename(join(root, 'box/p'), join(root, 'box/q'));
    await store.live.lookAtDir(['box']);
    for (const key of ['new', 'over']) await put(`q/${key}`, 'otherwise');
    await store.updateFacts('box', 'q/said', (facts) => ({ ...facts, tags: [['a', 'b']] }), {
      via: { event: 'ObjectTagging:Put' },
    });
    await store.append('box', 'q/grown', 'p/grown'.length, body('more'));
    expect(await store.live.hashFile(['box', 'q'], 'hashed')).toBe('done');
    const told = shown(all(reader));
    const sole = (what: string): string[] => told.filter((one) => one.includes(` box/${what}`));
    expect(sole('p/').sort()).toEqual(
      ['grown', 'hashed', 'kept', 'over', 'said'].map((name) => `ObjectRemoved:Delete box/p/${name}`),
    );
    for (const name of ['hashed', 'kept', 'said']) expect(sole(`q/${name}`)[0]).toBe(`ObjectCreated:Put box/q/${name}`);
    for (const name of ['new', 'over', 'grown']) expect(sole(`q/${name}`).at(-1)).toMatch(/^ObjectCreated/);
    expect(sole('q/said')).toHaveLength(2);
  });

  describe.each([
    [
      'another program has swapped',
      async () => {
        await rename(join(root, 'box/p'), join(root, 'box/t'));
        await rename(join(root, 'box/q'), join(root, 'box/p'));
        await rename(join(root, 'box/t'), join(root, 'box/q'));
        for (const dirs of [['box'], ['box', 'p'], ['box', 'q']]) await store.live.lookAtDir(dirs);
      },
    ],
    [
      'gos3rve has swapped',
      async () => {
        await movePrefix('p/', 't/');
        await movePrefix('q/', 'p/');
        await movePrefix('t/', 'q/');
      },
    ],
  ])('in a folder that %s with another', (_who, swap) => {
    it('tells whoever reads at once what others do there, also if the one who watches reads of the renames later', async () => {
      for (const key of ['changed', 'removed', 'kept']) for (const dir of ['p', 'q']) await put(`${dir}/${key}`);
      for (const dir of ['p', 'q']) await store.live.lookAtDir(['box', dir], { files: true });
      store.changes.wantAlways(true);
      const [early, late] = [store.changes.read('now'), store.changes.read('now')];
      await swap();
      all(early);
      await writeFile(join(root, 'box/p/new'), 'new');
      await writeFile(join(root, 'box/p/changed'), 'otherwise');
      await unlink(join(root, 'box/p/removed'));
      await store.live.lookAtFiles(['box', 'p'], ['new', 'changed', 'removed'], true);
      const told = shown(all(late));
      for (const { dirs, name, event } of store.live.untold(undefined, 100).entries)
        store.changes.see({ dirs, name, event }, late.told([...dirs, name].join('/')));
      expect(shown(all(early)).sort()).toEqual([
        'ObjectCreated:Put box/p/changed',
        'ObjectCreated:Put box/p/new',
        'ObjectRemoved:Delete box/p/removed',
      ]);
      // and the other one of each once, and of no key that never was
      told.push(...shown(all(late)));
      for (const change of [/Created.* box\/p\/changed$/, /Created.* box\/p\/new$/, /Removed.* box\/p\/removed$/])
        expect(told.filter((one) => change.test(one))).toHaveLength(1);
      expect(told.filter((one) => one.endsWith('q/new'))).toEqual([]);
    });
  });
});
