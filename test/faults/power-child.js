/**
 * The processes of the power cut test. `work` changes a few keys for ever and prints what is about to be done and what was answered; `check` opens the
 * root after the cut and prints what is there.
 *
 *     node power-child.js <module with openStore> <root> <bucket> work <name> <flush|fast>
 *     node power-child.js <module with openStore> <root> <bucket> check
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [door, root, bucket, mode, name, durability = 'flush'] = process.argv.slice(2);
const { openStore } = await import(pathToFileURL(door).href);
const store = await openStore(root, { minPartSize: 1024, durability });
const md5 = (bytes) => createHash('md5').update(bytes).digest('hex');
const say = (line) => fs.writeSync(1, `${JSON.stringify(line)}\n`);

function content(version) {
  const line = `${version}\n`;
  const sizes = [10, 300, 5000, 200_000];
  return Buffer.from(line.repeat(1 + Math.floor(sizes[Math.floor(Math.random() * sizes.length)] / line.length)));
}
function bodyOf(bytes) {
  async function* chunks() {
    yield bytes;
  }
  return { chunks: chunks(), size: bytes.length };
}

let counter = 0;
const fresh = () => `${name}.${++counter}`;
const facts = (version) => ({ facts: { metadata: { version } } });
const ref = (key) => ({ bucket, key });

/**
 * Each client has keys of its own, so that what is acknowledged is known. [key, state] are what it leaves: null for nothing, else the version of the bytes,
 * with `#` and the value of its tag, once it has one.
 */
const ACTS = {
  put: async (key, _other, begin) => {
    const version = fresh();
    begin([[key, version]]);
    await store.put(bucket, key, bodyOf(content(version)), facts(version));
  },
  multipart: async (key, _other, begin) => {
    const version = fresh();
    begin([[key, version]]);
    const { uploadId } = await store.createUpload(bucket, key, facts(version));
    const refs = [];
    for (const partNumber of [1, 2]) {
      const bytes = Buffer.from(`${version}\n`.repeat(400));
      const { etag } = await store.putPart(bucket, key, uploadId, partNumber, bodyOf(bytes));
      refs.push({ partNumber, etag, checksums: {} });
    }
    await store.completeUpload(bucket, key, uploadId, refs);
  },
  remove: async (key, _other, begin) => {
    begin([[key, null]]);
    await store.delete(bucket, key);
  },
  copy: async (key, other, begin, held) => {
    if (held.get(key) === null) return;
    begin([[other, held.get(key)]]);
    await store.copy(ref(key), ref(other));
  },
  move: async (key, other, begin, held) => {
    if (held.get(key) === null) return;
    begin([
      [key, null],
      [other, held.get(key)],
    ]);
    await store.move(ref(key), ref(other));
  },
  tag: async (key, _other, begin, held) => {
    if (held.get(key) === null) return;
    const tag = fresh();
    begin([[key, `${held.get(key).split('#')[0]}#${tag}`]]);
    await store.updateFacts(bucket, key, (old) => ({ ...old, tags: [['last', tag]] }));
  },
};
const MIX = ['put', 'put', 'put', 'put', 'multipart', 'remove', 'copy', 'move', 'tag'];

async function client(id) {
  // over directories that come and go, a key that is no path, and one that is a path as long as there is no `a`
  const keys = [`c${id}/a`, `c${id}/a/below`, `c${id}/deep/er/b`, `c${id}//overflow`, `flat-${id}`];
  const held = new Map(keys.map((key) => [key, null]));
  for (const key of keys) {
    const there = await store.head(bucket, key).catch(() => undefined);
    held.set(key, there ? stateOf(there.facts.metadata?.version, there.facts) : null);
  }
  for (;;) {
    const [key, other] = keys.toSorted(() => Math.random() - 0.5);
    let leaves = [];
    const begin = (what) => {
      leaves = what;
      say({ begin: what });
    };
    await ACTS[MIX[Math.floor(Math.random() * MIX.length)]](key, other, begin, held);
    for (const [one, version] of leaves) held.set(one, version);
    if (leaves.length > 0) say({ done: leaves });
  }
}

function stateOf(version, { tags = [] }) {
  return tags.length > 0 ? `${version}#${tags[0][1]}` : `${version}`;
}

async function look(key) {
  const open = await store.open(bucket, key);
  try {
    const chunks = [];
    await open.read(0, open.info.size, (chunk) => void chunks.push(Buffer.from(chunk)));
    const bytes = Buffer.concat(chunks);
    const version = String(bytes.subarray(0, bytes.indexOf(10)));
    const { etag, facts: said } = open.info;
    const whole = bytes.toString() === `${version}\n`.repeat(bytes.length / (version.length + 1));
    const half = bytes.subarray(0, bytes.length / 2);
    const parts = `${md5(Buffer.from(md5(half).repeat(2), 'hex'))}-2`;
    const own = said.metadata?.version === version && (etag === md5(bytes) || etag === parts);
    return {
      key,
      state: stateOf(version, said),
      whole,
      own,
      ...(!(whole && own) && { etag, said, size: bytes.length, md5: md5(bytes) }),
    };
  } finally {
    await open.close();
  }
}

if (mode === 'work') {
  say({ ready: true });
  await Promise.all(Array.from({ length: 8 }, (_, id) => client(id))).catch((error) => {
    say({ ended: String(error.cause ?? error) });
    process.kill(process.pid, 'SIGKILL');
  });
} else {
  const objects = [];
  for (let after = ''; ;) {
    const page = await store.list(bucket, { prefix: '', delimiter: '', after, max: 1000 });
    for (const { key } of page.entries) objects.push(await look(key));
    if (page.next === undefined) break;
    after = page.next;
  }
  const staging = fs
    .readdirSync(path.join(root, '.gos3rve/staging'))
    .filter((one) => one !== 'clock' && one !== 'uploads');
  await store.close();
  fs.writeFileSync(1, JSON.stringify({ objects, staging }));
}
