/**
 * A process of the linearizability test: opens the root for itself and runs clients on a few keys. Each operation becomes
 * a line of JSON in `out`: what was asked, what was answered, and when by the monotonic clock (ns), which all processes of a machine share.
 *
 * Told over the channel of its parent: `{ work: ms }` lets the clients work for so long, `{ read: true }` reads each key once, both are answered when
 * nothing is open any more; `{ end: true }` ends it.
 *
 * GOS3RVE_PLANT, `<fault> <probability>`, makes clients lie as a store with that fault would: `stale` answers a HEAD with what the client saw before,
 * `lost` drops the condition of a PUT that has one.
 *
 *     node linear-client.js <module with openStore, or linear-over-s3.js> <root> <bucket> <name> <clients> <out>
 */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { on, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [door, root, bucket, name, clients, out] = process.argv.slice(2);
const [fault = '', probability = '0'] = (process.env.GOS3RVE_PLANT ?? '').split(' ');
const { openStore } = await import(pathToFileURL(door).href);
const store = await openStore(root, {});
const log = createWriteStream(out);
const PAIRS = 5;
const SIZES = [30, 30, 300, 5000, 70_000];

const now = () => Number(process.hrtime.bigint());
const lies = (about) => fault === about && Math.random() < Number(probability);
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
  head: async (key, _other, known) => {
    if (known.has(key) && lies('stale')) return { saw: known.get(key).value };
    return { saw: remember(known, key, await head(key)) };
  },
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
    const { etag, facts } = await store.copy({ bucket, key }, { bucket, key: other });
    return { to: other, etag, saw: facts.metadata?.value };
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
  const asked = {
    wrote: value,
    etag: md5(bytes),
    ...(condition?.ifNoneMatch && { absent: true }),
    ...(match && { match }),
  };
  try {
    const drops = condition?.ifMatch && lies('lost');
    const options = { facts: { metadata: { value } }, ...(condition && !drops && { condition }) };
    const { etag } = await store.put(bucket, key, bodyOf(bytes), options);
    if (etag !== asked.etag) throw new Error(`a put of ${value} answered ${etag}`);
    known.set(key, { value, etag });
    return asked;
  } catch (error) {
    throw Object.assign(error, { asked });
  }
}

async function perform(what, keys, known) {
  const match = what === 'removeIf' ? known.get(keys[0])?.value : undefined;
  const entry = { what, key: keys[0], to: keys[1], match, call: now() };
  try {
    Object.assign(entry, await OPERATIONS[what](...keys, known));
  } catch (error) {
    Object.assign(entry, error.asked, { failed: error.code ?? 'unknown', message: String(error.cause ?? error) });
  }
  entry.return = now();
  if (!log.write(`${JSON.stringify(entry)}\n`)) await once(log, 'drain');
}

async function client(known, end) {
  while (Date.now() < end) {
    const pair = Math.floor(Math.random() * PAIRS);
    const keys = Math.random() < 0.5 ? [`p${pair}/a`, `p${pair}/b`] : [`p${pair}/b`, `p${pair}/a`];
    await perform(pick(MIX), keys, known);
    await sleep(Math.random() * 20);
  }
}

const memories = Array.from({ length: Number(clients) }, () => new Map());
const keys = Array.from({ length: PAIRS }, (_, pair) => [`p${pair}/a`, `p${pair}/b`]).flat();
process.send({ ready: true });
for await (const [{ work, read: asked, end }] of on(process, 'message')) {
  if (end) break;
  if (work) await Promise.all(memories.map((known) => client(known, Date.now() + work)));
  if (asked) await Promise.all(keys.map((key) => perform('read', [key, key], new Map())));
  process.send({ idle: true });
}
await store.close();
log.end();
await once(log, 'finish');
process.disconnect();
