/**
 * Another process that has the root open, and does at once what it is told by a file: `<steps>/<n>.do` holds the step, `<n>.done` is made when it was done.
 *
 *     node list-beside-child.js <dist> <root> <bucket> <steps>
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [dist, root, bucket, steps] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(path.join(dist, 'store/open.js')).href);
const store = await openStore(root, { durability: 'fast' });
const body = (text) => ({
  chunks: (async function* () {
    yield Buffer.from(text);
  })(),
  size: text.length,
});
const WORK = {
  settle: () => store.collector.overflow({ dryRun: false, signal: new AbortController().signal }),
  body: (key) => store.put(bucket, key, body('body')),
  list: () => store.list(bucket, { prefix: '', delimiter: '', after: '', max: 1000 }),
  marker: (key) => store.put(bucket, key, body('')),
};
for (let n = 0; ; n++) {
  const order = path.join(steps, `${n}.do`);
  while (!existsSync(order)) await sleep(2);
  const [step, ...keys] = JSON.parse(readFileSync(order, 'utf8'));
  await WORK[step](...keys);
  writeFileSync(path.join(steps, 'answer'), '');
  renameSync(path.join(steps, 'answer'), path.join(steps, `${n}.done`));
}
