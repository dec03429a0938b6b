/** Several processes open and close one index at the same moments: commands of cron, a server that ends. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { Claim } from '../../src/catalog/claim.js';
import { openStore } from '../../src/store/open.js';

const CLAIM = path.resolve(import.meta.dirname, '../../dist/catalog/claim.js');
const SCRIPT = `
import { Claim } from ${JSON.stringify(pathToFileURL(CLAIM).href)};
for (let n = 0; n < 40; n++) {
  const claim = new Claim(process.argv[2], undefined, () => undefined);
  claim.take();
  claim.release();
}
`;

it.skipIf(!existsSync(CLAIM))('is opened and closed by several processes at once', async () => {
  const base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-claim-'));
  await (await openStore(base)).close();
  try {
    const script = path.join(base, 'script.mjs');
    await writeFile(script, SCRIPT);
    const ends = await Promise.all(
      [1, 2, 3].map(async () => {
        const child = fork(script, [path.join(base, '.gos3rve/index')], {
          execArgv: [],
          stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
        });
        let errors = '';
        child.stderr?.on('data', (chunk) => (errors += String(chunk)));
        const [code] = (await once(child, 'close')) as [number | null];
        return [code, errors];
      }),
    );
    expect(ends).toEqual([
      [0, ''],
      [0, ''],
      [0, ''],
    ]);
  } finally {
    await rm(base, { recursive: true, force: true });
  }
});

/** Dies when it has opened the index, or when it is about to have it read through. */
const KILLED = `
import children from 'node:child_process';
import { syncBuiltinESMExports } from 'node:module';
const die = () => process.kill(process.pid, 'SIGKILL');
children.spawnSync = die;
syncBuiltinESMExports();
const { Claim } = await import(${JSON.stringify(pathToFileURL(CLAIM).href)});
new Claim(process.argv[2], undefined, () => undefined).take();
die();
`;

it.skipIf(!existsSync(CLAIM))(
  'is trusted after several kills in a row, also of those that look it through',
  async () => {
    const base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-claim-'));
    try {
      await (await openStore(base)).close();
      const script = path.join(base, 'script.mjs');
      await writeFile(script, KILLED);
      const directory = path.join(base, '.gos3rve/index');
      const inode = async (): Promise<unknown> => {
        const names = (await readdir(directory)).filter((name) => name.endsWith('.mdb'));
        return Promise.all(names.map(async (name) => [name, (await stat(path.join(directory, name))).ino]));
      };
      const index = await inode();
      expect(index).toHaveLength(1);
      for (let times = 0; times < 3; times++) {
        const child = fork(script, [directory], { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
        expect(await once(child, 'close')).toEqual([null, 'SIGKILL']);
      }
      const told: unknown[] = [];
      const claim = new Claim(directory, undefined, (...one) => told.push(one));
      claim.take();
      expect(told).toEqual([]);
      expect(await inode()).toEqual(index);
      expect((await readdir(directory)).filter((name) => name.startsWith('open-'))).toHaveLength(1);
      claim.release();
      expect((await readdir(directory)).sort()).toContain('closed');
    } finally {
      await rm(base, { recursive: true, force: true });
    }
  },
);
