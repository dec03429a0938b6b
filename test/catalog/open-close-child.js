/**
 * Opens an index, writes to it and closes it, again and again for some time; or keeps it open and goes on writing. Prints how often it has written, and what
 * went wrong.
 *
 *     node open-close-child.js <dist> <file> <ms> [stay]
 */
import path from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [dist, file, ms, stay] = process.argv.slice(2);
const { Index } = await import(pathToFileURL(path.join(dist, 'catalog/lmdb.js')).href);
const wrong = new Set();
let times = 0;
let index;
for (const end = Date.now() + Number(ms); Date.now() < end;) {
  try {
    index ??= Index.open(file, { damaged: (why) => wrong.add(why) });
    index.write(() => index.next('times'));
    times++;
    if (stay === undefined) {
      await index.close();
      index = undefined;
    } else if (times % 20 === 0) await turn();
  } catch (error) {
    wrong.add(String(error));
  }
}
await index?.close();
console.log(JSON.stringify({ times, wrong: [...wrong] }));
