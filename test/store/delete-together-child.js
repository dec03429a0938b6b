/**
 * Deletes keys of a root by one call, as soon as it is told to by a line, and prints what became of each: `true`, `false` or an error's code.
 *
 *     node delete-together-child.js <dist> <root> <bucket> <key>...
 */
import { once } from 'node:events';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dist, root, bucket, ...keys] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(path.join(dist, 'store/open.js')).href);
const store = await openStore(root);
console.log('ready');
await once(process.stdin, 'data');
const outcomes = await store.deleteEach(
  bucket,
  keys.map((key) => ({ key })),
);
console.log(JSON.stringify(outcomes.map((one) => one.value ?? one.reason.code)));
await store.close();
process.exit();
