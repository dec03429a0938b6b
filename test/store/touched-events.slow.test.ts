/** Files that other programs touch and remove within the time that a file has to be left alone: whoever listens ends up with what is there. */
import { chmodSync, mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { list } from '../suites/store/kit.js';
import { Watched } from './watched.js';

const QUIET_MS = 1_500;
/** The watcher has looked, and the file is not quiet yet. */
const seen = (): Promise<void> => sleep(QUIET_MS / 3);

let box: Watched;

beforeEach(async () => {
  box = await Watched.open(QUIET_MS);
});
afterEach(() => box.close());

/** Removed once, at the end. */
async function expectRemoved(key: string): Promise<void> {
  const told = await box.tellsOf(key, 'ObjectRemoved');
  expect(told.filter((event) => event === 'ObjectRemoved')).toHaveLength(1);
}

const TOUCHES: [what: string, touch: (path: string) => void][] = [
  ['overwritten', (path) => writeFileSync(path, 'other bytes')],
  ['given another mode', (path) => chmodSync(path, 0o600)],
];

describe.each(TOUCHES)('a file that was %s', (_what, touch) => {
  it.each(['ours', 'theirs'])('and removed, which a request notes first, is told as gone (%s)', async (key) => {
    if (key === 'ours') await box.put(key);
    else writeFileSync(box.at(key), 'theirs');
    await box.begin();
    touch(box.at(key));
    await seen();
    unlinkSync(box.at(key));
    expect(await list(box.store)).toEqual([]);
    await expectRemoved(key);
  });

  it('and went with its folder is told as gone', async () => {
    const out = mkdtempSync(path.join(tmpdir(), 'gos3rve-out-'));
    for (const key of ['f/x', 'f/y']) await box.put(key);
    await box.begin();
    touch(box.at('f', 'x'));
    await seen();
    renameSync(box.at('f'), path.join(out, 'f'));
    await expectRemoved('f/x');
    rmSync(out, { recursive: true });
  });
});

describe('what was told last is what is there', () => {
  it('of a file that came and went: nothing, or both', async () => {
    await box.begin();
    writeFileSync(box.at('brief'), 'brief');
    expect(await list(box.store)).toEqual(['brief']);
    await seen();
    unlinkSync(box.at('brief'));
    expect(await list(box.store)).toEqual([]);
    const told = await box.tellsOf('brief');
    expect([[], ['ObjectCreated', 'ObjectRemoved']]).toContainEqual(told);
  });

  it('of a file that went, came back and went, since whoever listens has begun again', async () => {
    await box.put('x');
    await box.begin();
    await box.restart();
    await box.begin();
    unlinkSync(box.at('x'));
    expect(await list(box.store)).toEqual([]);
    writeFileSync(box.at('x'), 'back');
    await seen();
    unlinkSync(box.at('x'));
    await expectRemoved('x');
  });

  it('of a file that went and came back as another, when requests see it first', async () => {
    await box.put('x');
    await box.begin();
    unlinkSync(box.at('x'));
    expect(await list(box.store)).toEqual([]);
    writeFileSync(box.at('x'), 'other bytes');
    await box.store.head('box', 'x');
    await list(box.store);
    expect((await box.tellsOf('x', 'ObjectCreated')).at(-1)).toBe('ObjectCreated');
  });

  it('of a file that went and came back as another while no server ran, but somebody looked', async () => {
    await box.put('x');
    await box.begin();
    await box.end();
    unlinkSync(box.at('x'));
    expect(await list(box.store)).toEqual([]);
    writeFileSync(box.at('x'), 'other bytes');
    await box.store.live.lookAtFile(['box'], 'x');
    await box.begin();
    expect(await box.tellsOf('x', 'ObjectCreated')).toEqual(['ObjectCreated']);
  });

  it('of a file that was changed, went and came back as it was then', async () => {
    await box.put('x');
    await box.begin();
    writeFileSync(box.at('x'), 'other bytes');
    await seen();
    renameSync(box.at('x'), path.join(box.root, '.x'));
    expect(await list(box.store)).toEqual([]);
    renameSync(path.join(box.root, '.x'), box.at('x'));
    expect(await list(box.store)).toEqual(['x']);
    expect((await box.tellsOf('x', 'ObjectCreated')).at(-1)).toBe('ObjectCreated');
  });

  it.each(['at once', 'after a new beginning'])('of a file that went and came back as it was (%s)', async (when) => {
    await box.put('x');
    await box.begin();
    if (when !== 'at once') {
      await box.restart();
      await box.begin();
    }
    renameSync(box.at('x'), path.join(box.root, '.x'));
    expect(await list(box.store)).toEqual([]);
    renameSync(path.join(box.root, '.x'), box.at('x'));
    expect(await list(box.store)).toEqual(['x']);
    const told = await box.tellsOf('x');
    expect([[], ['ObjectRemoved', 'ObjectCreated']]).toContainEqual(told);
  });
});
