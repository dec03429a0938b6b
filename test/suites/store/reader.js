/**
 * A process that may crash: opens the store, reads every object whole and prints `key version` of its metadata, then closes.
 * Run as: node reader.js <module with openStore> <root> <bucket>
 */
import { pathToFileURL } from 'node:url';

const [door, root, bucket] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(door).href);
const store = await openStore(root, {});
const { entries } = await store.list(bucket, { prefix: '', delimiter: '', after: '', max: 1000 });
for (const { key, size } of entries) {
  const open = await store.open(bucket, key);
  let seen = 0;
  await open.read(0, size, (chunk) => {
    seen += chunk.length;
  });
  await open.close();
  if (seen !== size) throw new Error(`${key}: ${seen} bytes of ${size}`);
  process.stdout.write(`${key} ${open.info.facts.metadata?.version}\n`);
}
await store.close();
