/** Several processes open and close one index at the same moments: commands of cron, a server that ends. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
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
