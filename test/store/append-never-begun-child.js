/**
 * A process that is killed with -9 when the line of its append is flushed, and nothing else has been done.
 *
 *     node append-never-begun-child.js <dist> <root> <bucket> <key> <offset> <bytes>
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dist, root, bucket, key, offset, bytes] = process.argv.slice(2);
const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
const [{ openStore }, { Catalog }] = [await load('store/open.js'), await load('catalog/catalog.js')];
const store = await openStore(root);
Catalog.prototype.record = () => process.kill(process.pid, 'SIGKILL');
async function* chunks() {
  yield Buffer.from(bytes, 'latin1');
}
await store.append(bucket, key, Number(offset), { chunks: chunks() });
