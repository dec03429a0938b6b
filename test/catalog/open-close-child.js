/**
 * Opens an index, writes to it and closes it, again and again for some time; prints what went wrong.
 *
 *     node open-close-child.js <dist> <file> <ms>
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dist, file, ms] = process.argv.slice(2);
const { Index } = await import(pathToFileURL(path.join(dist, 'catalog/lmdb.js')).href);
const wrong = new Set();
let times = 0;
for (const end = Date.now() + Number(ms); Date.now() < end; times++) {
  try {
    const index = Index.open(
      file,
      () => file,
      () => undefined,
      (why) => wrong.add(why),
    );
    index.write(() => index.next('times'));
    await index.close();
  } catch (error) {
    wrong.add(String(error));
  }
}
console.log(JSON.stringify({ times, wrong: [...wrong] }));
