/**
 * A process of the linearizability test: opens the root for itself and runs clients on a few keys for some seconds. Each operation becomes
 * a line of JSON in `out`: what was asked, what was answered, and when by the monotonic clock (ns), which all processes of a machine share.
 *
 *     node linear-client.js <module with openStore> <root> <bucket> <name> <seconds> <clients> <out>
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [door, root, bucket, name, seconds, clients, out] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(door).href);
const store = await openStore(root, {});
const log = createWriteStream(out);
const PAIRS = 5;
const SIZES = [30, 30, 300, 5000, 70_000];

const now = () => Number(process.hrtime.bigint());
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const md5 = (bytes) => createHash('md5').update(bytes).digest('hex');

/** A body that says which one it is in each of its lines. */
function content(value) {
  const line = `${value}\n`;
  return Buffer.from(line.repeat(Math.max(1, Math.floor(pick(SIZES) / line.length))));
}
function bodyOf(bytes) {
  async function* chunks() {
    for (let at = 0; at < bytes.length; at += 16_384) yield bytes.subarray(at, at + 16_384);
  }
  return { chunks: chunks(), size: bytes.length };
}

/** The value of an object; throws if metadata, bytes and ETag are not of one and the same. */
async function read(key) {
  const open = await store.open(bucket, key);
  try {
    const chunks = [];
    await open.read(0, open.info.size, (chunk) => void chunks.push(Buffer.from(chunk)));
    const bytes = Buffer.concat(chunks);
    const value = String(bytes.subarray(0, bytes.indexOf(10)));
    const { etag, facts } = open.info;
    const whole = `${value}\n`.repeat(bytes.length / (value.length + 1));
    if (bytes.toString() !== whole || etag !== md5(bytes) || facts.metadata?.value !== value)
      throw new Error(`mixed: ${value} ${bytes.length} ${etag} ${md5(bytes)} ${JSON.stringify(facts)}`);
    return { value, etag };
  } finally {
    await open.close();
  }
}

async function head(key) {
  const { etag, facts } = await store.head(bucket, key);
  return { value: facts.metadata?.value, etag };
}

let counter = 0;
/** Each returns what the history shall hold. `known`: the last thing that this client saw of each key. */
const OPERATIONS = {
  read: async (key, _other, known) => ({ saw: remember(known, key, await read(key)) }),
  head: async (key, _other, known) => ({ saw: remember(known, key, await head(key)) }),
  put: (key, _other, known) => write(key, known),
  create: (key, _other, known) => write(key, known, { ifNoneMatch: ['*'] }),
  replace: (key, _other, known) => {
    const seen = known.get(key);
    return seen ? write(key, known, { ifMatch: [seen.etag] }, seen.value) : write(key, known);
  },
  remove: async (key) => ({ existed: await store.delete(bucket, key) }),
  removeIf: async (key, _other, known) => {
    const seen = known.get(key);
    if (!seen) return { existed: await store.delete(bucket, key) };
    return { existed: await store.delete(bucket, key, { condition: { ifMatch: [seen.etag] } }) };
  },
  copy: async (key, other) => {
    const { facts } = await store.copy({ bucket, key }, { bucket, key: other });
    return { to: other, saw: facts.metadata?.value };
  },
  move: async (key, other) => {
    const { facts } = await store.move({ bucket, key }, { bucket, key: other });
    return { to: other, saw: facts.metadata?.value };
  },
};
const WEIGHTS = { read: 6, head: 5, put: 3, create: 3, replace: 4, remove: 1, removeIf: 2, copy: 2, move: 3 };
const MIX = Object.entries(WEIGHTS).flatMap(([what, weight]) => Array(weight).fill(what));

function remember(known, key, seen) {
  known.set(key, seen);
  return seen.value;
}
async function write(key, known, condition, match) {
  const value = `${name}.${++counter}`;
  const bytes = content(value);
  const asked = { wrote: value, ...(condition?.ifNoneMatch && { absent: true }), ...(match && { match }) };
  try {
    const options = { facts: { metadata: { value } }, ...(condition && { condition }) };
    const { etag } = await store.put(bucket, key, bodyOf(bytes), options);
    if (etag !== md5(bytes)) throw new Error(`a put of ${value} answered ${etag}`);
    known.set(key, { value, etag });
    return asked;
  } catch (error) {
    throw Object.assign(error, { asked });
  }
}

const end = Date.now() + Number(seconds) * 1000;
async function client() {
  const known = new Map();
  while (Date.now() < end) {
    const pair = Math.floor(Math.random() * PAIRS);
    const keys = Math.random() < 0.5 ? [`p${pair}/a`, `p${pair}/b`] : [`p${pair}/b`, `p${pair}/a`];
    const what = pick(MIX);
    const match = what === 'removeIf' ? known.get(keys[0])?.value : undefined;
    const entry = { what, key: keys[0], to: keys[1], match, call: now() };
    try {
      Object.assign(entry, await OPERATIONS[what](...keys, known));
    } catch (error) {
      Object.assign(entry, error.asked, { failed: error.code ?? 'unknown', message: String(error.cause ?? error) });
    }
    entry.return = now();
    if (!log.write(`${JSON.stringify(entry)}\n`)) await once(log, 'drain');
    await sleep(Math.random() * 20);
  }
}

await Promise.all(Array.from({ length: Number(clients) }, client));
await store.close();
log.end();
await once(log, 'finish');
