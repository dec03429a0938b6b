/**
 * A process that is killed with -9 when an overflow object of its own has been replaced or removed, and the old body still lies there.
 *
 *     node superseded-child.js <dist> <root> <put|again|move|from|delete> <discard|commit>
 *
 * `discard` dies before the old body goes, its transaction done; `commit` with all of the last transaction done but its end.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { BUCKET } from './crash-operations.js';

const [dist, root, operation, when] = process.argv.slice(2);
let armed = false;
const die = () => process.kill(process.pid, 'SIGKILL');
const { unlinkSync } = fs;
fs.unlinkSync = (file) => {
  if (armed && when === 'discard' && String(file).includes('overflow')) die();
  return unlinkSync(file);
};
syncBuiltinESMExports();

const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
const { Index } = await load('catalog/lmdb.js');
const { write } = Index.prototype;
Index.prototype.write = function (work) {
  return write.call(this, () => {
    const result = work();
    if (armed && when === 'commit') die();
    return result;
  });
};

const body = (text) => ({
  size: text.length,
  chunks: (async function* () {
    yield Buffer.from(text);
  })(),
});
const { openStore } = await load('store/open.js');
const store = await openStore(root);
const put = (key, text) => store.put(BUCKET, key, body(text), { facts: { metadata: { text } } });
const OPERATIONS = {
  async put() {
    await put('p//a', 'one');
    armed = true;
    await put('p//a', 'P two');
  },
  async again() {
    await put('p//a', 'one');
    await put('p//a', 'two');
    armed = true;
    await put('p//a', 'P three');
  },
  async move() {
    await put('p//a', 'zero');
    await put('d/c', 'first');
    await store.move({ bucket: BUCKET, key: 'd/c' }, { bucket: BUCKET, key: 'p//a' });
    await store.put(BUCKET, 'd/c', body('second'), {
      facts: { contentType: 'image/x-special', metadata: { text: 'second' }, tags: [['keep', 'me']] },
    });
    armed = true;
    await put('p//a', 'P third');
  },
  async delete() {
    await put('p//a', 'one');
    armed = true;
    await store.delete(BUCKET, 'p//a');
  },
  async from() {
    await put('p//a', 'zero');
    await put('d/c', 'first');
    armed = true;
    await store.move({ bucket: BUCKET, key: 'd/c' }, { bucket: BUCKET, key: 'p//a' });
  },
};
await OPERATIONS[operation]();
throw new Error('it has outlived its operation');
