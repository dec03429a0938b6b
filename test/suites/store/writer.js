/**
 * A process to be killed: puts numbered versions of a few keys for ever and prints `key version` after each answer.
 * Run as: node writer.js <module with openStore> <root> <bucket>
 */
import { pathToFileURL } from 'node:url';

const [door, root, bucket] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(door).href);
const store = await openStore(root, {});

/** Starts above every version of an earlier run. */
let version = Date.now();

async function writeForEver(key) {
  for (;;) {
    const mine = ++version;
    const content = Buffer.from(`${String(mine).padStart(13)}${key}`.repeat(3000));
    async function* chunks() {
      for (let at = 0; at < content.length; at += 16_384) yield content.subarray(at, at + 16_384);
    }
    await store.put(
      bucket,
      key,
      { chunks: chunks(), size: content.length },
      { facts: { metadata: { version: String(mine) } } },
    );
    process.stdout.write(`${key} ${mine}\n`);
  }
}

await Promise.all(['w/a', 'w/a/below', 'w/b', 'w//c', 'w/d/e/f'].map(writeForEver));
