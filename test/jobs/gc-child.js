/** Collects garbage again and again, as a command does: `node gc-child.js <dist> <root>`. Is killed. Prints a line for each time. */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dist, root] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
const [{ openStore }, { gc }] = [await load('store/open.js'), await load('jobs/gc.js')];
for (;;) {
  const store = await openStore(root, { minPartSize: 1 });
  for (let times = 0; times < 3; times++) {
    const report = await gc(store.collector, {
      dryRun: false,
      signal: new AbortController().signal,
      olderThan: 3_600_000,
      keepGone: 0,
    });
    fs.writeSync(1, `${report.busy ? 'busy' : 'done'} ${report.segments}\n`);
  }
  await store.close();
}
