/**
 * A process that is killed with -9 when half of what it appends is in the file.
 *
 *     node append-child.js <dist> <root> <bucket> <key> <offset> <bytes>
 */
import { fstatSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [dist, root, bucket, key, offset, bytes] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(path.join(dist, 'store/open.js')).href);
const store = await openStore(root);
const { ino } = statSync(path.join(root, bucket, key));
const probe = await open(root);
const handles = Object.getPrototypeOf(probe);
await probe.close();
const { write } = handles;
handles.write = async function (buffer, from, length, position) {
  if (fstatSync(this.fd).ino !== ino) return write.call(this, buffer, from, length, position);
  await write.call(this, buffer, from, length / 2, position);
  return process.kill(process.pid, 'SIGKILL');
};
async function* chunks() {
  yield Buffer.from(bytes);
}
await store.append(bucket, key, Number(offset), { chunks: chunks() });
