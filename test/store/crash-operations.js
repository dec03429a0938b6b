/**
 * The operations of the crash test, for the child that dies in one and for the parent that sets the stage and knows how it may end.
 * Each has `setup`, `run` (`ready` is what it needs to have at hand before calls are counted) and, where an interrupted one may rightly be
 * seen half done, `between`: names of those states. `sampled`: goes much the way of another one, or makes very many calls.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

export const BUCKET = 'box';
export const OPTIONS = { minPartSize: 1024 };

export function body(text) {
  const bytes = Buffer.from(text);
  async function* chunks() {
    yield bytes;
  }
  return { chunks: chunks(), size: bytes.length };
}

const facts = (version) => ({
  contentType: `x/${version}`,
  metadata: { version },
  tags: [['version', version]],
});
const put = (store, key, text, version, more = {}) =>
  store.put(BUCKET, key, body(text), { facts: facts(version), ...more });
const twoParts = async (store, key) => {
  const { uploadId } = await store.createUpload(BUCKET, key, { facts: facts('multi') });
  await store.putPart(BUCKET, key, uploadId, 1, body('1'.repeat(2000)));
  await store.putPart(BUCKET, key, uploadId, 2, body('two'));
};
export const uploadsOf = async (store) =>
  (await store.listUploads(BUCKET, { prefix: '', delimiter: '', keyMarker: '', uploadIdMarker: '', max: 100 })).entries;
const onlyUpload = async (store) => (await uploadsOf(store))[0];
const complete = async (store) => {
  const { uploadId, key } = await onlyUpload(store);
  const { parts } = await store.listParts(BUCKET, key, uploadId, { after: 0, max: 10 });
  return store.completeUpload(
    BUCKET,
    key,
    uploadId,
    parts.map(({ partNumber, etag }) => ({ partNumber, etag, checksums: {} })),
  );
};
const nothing = async () => undefined;
const ref = (key) => ({ bucket: BUCKET, key });
const foreign = async (root, key, text) => {
  const file = path.join(root, BUCKET, key);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, text);
};

const CREDENTIAL = { accessKey: 'AKIACRASH', secretKey: 'crash', owner: { id: 'owner', displayName: 'owner' } };
const REGION = 'us-east-1';
/** A server in this process, with what signs requests to it. */
const serving = async (store, load) => {
  const { createServer } = await load('index.js');
  const server = createServer({ store, credentials: [CREDENTIAL], port: 0 });
  const [{ url }, { signHeaders }, { signPost }] = [
    await server.listen(),
    await load('auth/presign.js'),
    await load('auth/post.js'),
  ];
  return {
    send: (method, target, headers, text) => {
      const signed = signHeaders({ method, url: `${url}${target}`, headers, credential: CREDENTIAL, region: REGION });
      return fetch(`${url}${target}`, { method, headers: signed.headers, body: text });
    },
    post: (key, fields, text) => {
      const form = new FormData();
      const input = { bucket: BUCKET, key, fields, credential: CREDENTIAL, region: REGION, expires: 600 };
      for (const [name, value] of Object.entries(signPost(input))) form.append(name, value);
      form.append('file', new Blob([text]), 'file.txt');
      return fetch(`${url}/${BUCKET}`, { method: 'POST', body: form });
    },
  };
};
const answered = async (response, status) => {
  const { status: told } = await response;
  if (told !== status) throw new Error(`${told}: ${await (await response).text()}`);
};

export const DAY = 86_400_000;
/** Name of an operation that collects what is left, if anything, in a process of its own since it turns the clock. */
export const AGAIN = 'collect again';
/** As `gc` runs it, a month later: all that may be forgotten is. */
const collect = async (store, gc) => {
  const { now } = Date;
  Date.now = () => now() + 31 * DAY;
  try {
    return await gc(store.collector, {
      dryRun: false,
      signal: new AbortController().signal,
      olderThan: 7 * DAY,
      keepGone: 30 * DAY,
    });
  } finally {
    Date.now = now;
  }
};

export const COLLECT_AGAIN = {
  ready: async (_store, load) => (await load('jobs/gc.js')).gc,
  run: (store, { ready }) => collect(store, ready),
};

export const OPERATIONS = {
  'put a new object in new directories': {
    setup: nothing,
    run: (store) => put(store, 'a/b/c', 'new', 'new', { digests: { algorithms: ['SHA256'], store: 'SHA256' } }),
  },
  'put with If-None-Match': {
    setup: nothing,
    run: (store) => put(store, 'once', 'new', 'new', { condition: { ifNoneMatch: ['*'] } }),
  },
  'overwrite an object': {
    setup: (store) => put(store, 'a/k', 'old bytes', 'old'),
    run: (store) => put(store, 'a/k', 'the new bytes', 'new'),
  },
  'overwrite with the same bytes': {
    sampled: true,
    setup: (store) => put(store, 'k', 'same', 'old'),
    run: (store) => put(store, 'k', 'same', 'new'),
  },
  'overwrite a file of others': {
    sampled: true,
    setup: (_store, root) => foreign(root, 'd/theirs', 'their bytes'),
    run: (store) => put(store, 'd/theirs', 'the new bytes', 'new'),
  },
  'overwrite with If-Match': {
    sampled: true,
    setup: (store) => put(store, 'a/k', 'old bytes', 'old'),
    run: async (store) => {
      const { etag } = await store.head(BUCKET, 'a/k');
      return put(store, 'a/k', 'the new bytes', 'new', { condition: { ifMatch: [etag] } });
    },
  },
  'put with a modification time': {
    sampled: true,
    setup: nothing,
    run: (store) =>
      store.put(BUCKET, 'a/k', body('new'), { facts: { metadata: { mtime: '1500000000.5', version: 'new' } } }),
  },
  'put by a form': {
    sampled: true,
    setup: (store) => put(store, 'f/k', 'old bytes', 'old'),
    ready: serving,
    run: (_store, { ready }) =>
      answered(ready.post('f/k', { 'Content-Type': 'x/form', 'x-amz-meta-version': 'form' }, 'of a form'), 204),
  },
  'put an overflow object': {
    setup: (store) => put(store, 'a', 'file', 'old'),
    run: (store) => put(store, 'a/below', 'new', 'new'),
  },
  'overwrite an overflow object': {
    supersedes: true,
    sampled: true,
    setup: (store) => put(store, 'x//y', 'old', 'old'),
    run: (store) => put(store, 'x//y', 'newer', 'new'),
  },
  'delete and prune': {
    setup: async (store) => {
      await put(store, 'keep', 'x', 'old');
      await put(store, 'a/b/c', 'old', 'old');
    },
    run: (store) => store.delete(BUCKET, 'a/b/c'),
  },
  'put where an overflow object was kept aside': {
    supersedes: true,
    setup: async (store, root) => {
      await put(store, 'a', 'file', 'old');
      await put(store, 'a/below', 'old', 'old');
      await store.delete(BUCKET, 'a');
      await foreign(root, 'a/below', 'their bytes');
    },
    run: (store) => store.put(BUCKET, 'a/below', body('newer'), { facts: { metadata: { version: 'new' } } }),
  },
  'delete an overflow object': {
    sampled: true,
    setup: (store) => put(store, '../up', 'old', 'old'),
    run: (store) => store.delete(BUCKET, '../up'),
  },
  'delete a file of others': {
    sampled: true,
    setup: (_store, root) => foreign(root, 'd/theirs', 'their bytes'),
    run: (store) => store.delete(BUCKET, 'd/theirs'),
  },
  'delete several objects': {
    sampled: true,
    setup: async (store) => {
      for (const key of ['a/x', 'a/y', 'b/c/d', 'o//v', 'keep']) await put(store, key, key, 'old');
    },
    ready: serving,
    run: (_store, { ready }) => {
      const objects = ['a/x', 'a/y', 'b/c/d', 'o//v', 'none'].map((key) => `<Object><Key>${key}</Key></Object>`);
      return answered(ready.send('POST', `/${BUCKET}?delete`, {}, `<Delete>${objects.join('')}</Delete>`), 200);
    },
    between: ['one by one'],
  },
  'delete several objects under one lock': {
    setup: async (store, root) => {
      for (const key of ['a/x', 'a/y', 'b/c/d', 'o//v', 'keep']) await put(store, key, key, 'old');
      await foreign(root, 'd/theirs', 'their bytes');
    },
    run: async (store) => {
      const keys = ['a/x', 'a/y', 'd/theirs', 'b/c/d', 'o//v', 'none'];
      const outcomes = await store.deleteEach(
        BUCKET,
        keys.map((key) => ({ key })),
      );
      for (const one of outcomes) if (one.status === 'rejected') throw one.reason;
    },
    between: ['objects one by one'],
  },
  'delete all of several folders under one lock': {
    sampled: true,
    setup: async (store) => {
      for (const key of ['a/1', 'a/2', 'a/3', 'a/4', 'b/c/1', 'b/c/2', 'b/d', 'keep'])
        await put(store, key, key, 'old');
      await put(store, 'a', 'no path: a folder is there', 'old');
      await put(store, 'm/', '', 'old');
    },
    run: async (store) => {
      const keys = ['a/1', 'b/c/2', 'a/4', 'a', 'b/c/1', 'a/3', 'm/', 'b/d', 'a/2'];
      const outcomes = await store.deleteEach(
        BUCKET,
        keys.map((key) => ({ key })),
      );
      for (const one of outcomes) if (one.status === 'rejected') throw one.reason;
    },
    between: ['objects one by one'],
  },
  'copy over an object': {
    setup: async (store) => {
      await put(store, 'from', 'source', 'source');
      await put(store, 'to', 'old target', 'old');
    },
    run: (store) => store.copy(ref('from'), ref('to')),
  },
  'copy over itself with other metadata': {
    sampled: true,
    setup: (store) => put(store, 'k', 'same', 'old'),
    run: (store) => store.copy(ref('k'), ref('k'), { facts: () => facts('new') }),
  },
  'copy an overflow object': {
    sampled: true,
    setup: (store) => put(store, 'x//y', 'source', 'source'),
    run: (store) => store.copy(ref('x//y'), ref('d/to')),
  },
  move: {
    setup: async (store) => {
      await put(store, 'a/b/from', 'source', 'source');
      await put(store, 'c/to', 'old target', 'old');
    },
    run: (store) => store.move(ref('a/b/from'), ref('c/to')),
    between: ['directories left'],
  },
  'move to a new directory': {
    sampled: true,
    setup: (store) => put(store, 'from', 'source', 'source'),
    run: (store) => store.move(ref('from'), ref('d/e/to')),
  },
  'move with If-None-Match': {
    setup: (store) => put(store, 'from', 'source', 'source'),
    run: (store) => store.move(ref('from'), ref('to'), { condition: { ifNoneMatch: ['*'] } }),
    between: ['both names'],
  },
  'move a prefix': {
    setup: async (store) => {
      await put(store, 'a/b/one', 'one', 'one');
      await put(store, 'a/b/deep/two', 'two', 'two');
      await put(store, 'a/b/m/', '', 'marker');
      await put(store, 'keep', 'x', 'old');
    },
    run: (store) => store.movePrefix(ref('a/b/'), ref('x/y/z/')),
    between: ['directories left'],
  },
  'move a prefix with keys that are no paths': {
    sampled: true,
    setup: async (store) => {
      await put(store, 'a/one', 'one', 'one');
      await put(store, 'a//odd', 'odd', 'odd');
      await put(store, 'a/one/below', 'below', 'below');
    },
    run: (store) => store.movePrefix(ref('a/'), ref('z/')),
  },
  'move a prefix from another bucket': {
    sampled: true,
    setup: async (store) => {
      await store.createBucket('other', {});
      await store.put('other', 'a/one', body('one'), { facts: facts('one') });
      await store.put('other', 'a//odd', body('odd'), { facts: facts('odd') });
    },
    run: (store) => store.movePrefix({ bucket: 'other', key: 'a/' }, ref('z/y/')),
  },
  'merge a prefix with another': {
    sampled: true,
    setup: async (store) => {
      await put(store, 'a/one', 'one', 'one');
      await put(store, 'a/two', 'two', 'two');
      await put(store, 'a/sub/three', 'three', 'three');
      await put(store, 'z/one', 'old', 'old');
      await put(store, 'z/kept', 'kept', 'kept');
    },
    run: (store) => store.movePrefix(ref('a/'), ref('z/'), { force: true }),
    between: ['objects one by one'],
  },
  'move an overflow object to a path': {
    sampled: true,
    setup: (store) => put(store, 'x//y', 'source', 'source'),
    run: (store) => store.move(ref('x//y'), ref('d/to')),
  },
  'move to an overflow key': {
    supersedes: true,
    setup: async (store) => {
      await put(store, 'd/from', 'source', 'source');
      await put(store, 'x//y', 'old', 'old');
    },
    run: (store) => store.move(ref('d/from'), ref('x//y')),
    between: ['directories left'],
  },
  append: {
    setup: (store) => put(store, 'log', 'one,', 'log'),
    run: (store) => store.append(BUCKET, 'log', 4, body('two and a half,')),
  },
  'append to nothing': {
    sampled: true,
    setup: nothing,
    run: (store) => store.append(BUCKET, 'd/log', 0, body('first')),
  },
  'put a marker': { setup: nothing, run: (store) => put(store, 'm/n/', '', 'marker') },
  'delete a marker': {
    sampled: true,
    setup: (store) => put(store, 'm/n/', '', 'marker'),
    run: (store) => store.delete(BUCKET, 'm/n/'),
  },
  'change tags': {
    setup: (store) => put(store, 'k', 'bytes', 'old'),
    run: (store) => store.updateFacts(BUCKET, 'k', (old) => ({ ...old, tags: [['changed', 'yes']] })),
  },
  'change tags of an overflow object': {
    sampled: true,
    setup: (store) => put(store, 'x//y', 'bytes', 'old'),
    run: (store) => store.updateFacts(BUCKET, 'x//y', (old) => ({ ...old, tags: [['changed', 'yes']] })),
  },
  'change tags of a file of others': {
    sampled: true,
    setup: (_store, root) => foreign(root, 'd/theirs', 'their bytes'),
    run: (store) => store.updateFacts(BUCKET, 'd/theirs', (old) => ({ ...old, tags: [['changed', 'yes']] })),
  },
  'create an upload': {
    setup: nothing,
    run: (store) => store.createUpload(BUCKET, 'multi', { facts: facts('multi') }),
  },
  'put a part again': {
    setup: (store) => twoParts(store, 'multi'),
    run: async (store) => store.putPart(BUCKET, 'multi', (await onlyUpload(store)).uploadId, 2, body('again')),
  },
  'complete an upload': {
    setup: async (store) => {
      await put(store, 'multi', 'old', 'old');
      await twoParts(store, 'multi');
    },
    run: complete,
  },
  'complete an upload to an overflow key': {
    sampled: true,
    setup: (store) => twoParts(store, 'x//multi'),
    run: complete,
  },
  'abort an upload': {
    setup: (store) => twoParts(store, 'multi'),
    run: async (store) => store.abortUpload(BUCKET, 'multi', (await onlyUpload(store)).uploadId),
  },
  'create a bucket': { setup: nothing, run: (store) => store.createBucket('fresh', { region: 'eu-central-1' }) },
  'delete a bucket': {
    setup: (store) => store.createBucket('empty', { region: 'eu-central-1' }),
    run: (store) => store.deleteBucket('empty'),
  },
  'change the settings of a bucket': {
    setup: (store) => store.updateBucket(BUCKET, (old) => ({ ...old, tags: [['old', 'yes']] })),
    run: (store) =>
      store.updateBucket(BUCKET, (old) => ({ ...old, tags: [['new', 'yes']], ownership: 'ObjectWriter' })),
  },
  'collect garbage': {
    sampled: true,
    setup: rubbish,
    ready: async (_store, load) => (await load('jobs/gc.js')).gc,
    run: async (store, { ready }) => {
      const { busy, uploads, settled, quarantined, forgotten, directories, segments } = await collect(store, ready);
      const told = { busy, uploads, settled, quarantined, forgotten, directories, segments: segments > 1 };
      const wanted = {
        busy: false,
        uploads: 1,
        settled: 1,
        quarantined: 1,
        forgotten: 1,
        directories: 2,
        segments: true,
      };
      if (JSON.stringify(told) !== JSON.stringify(wanted)) throw new Error(`it did ${JSON.stringify(told)}`);
    },
    between: ['one by one'],
  },
  'compact the journal': {
    setup: async (store) => {
      await put(store, 'a/k', 'old', 'old');
      await put(store, 'a/k', 'new', 'new');
      await put(store, 'x//y', 'over', 'flow');
      await put(store, 'gone', 'x', 'gone');
      await store.delete(BUCKET, 'gone');
      await put(store, 'm/n/', '', 'marker');
      await twoParts(store, 'multi');
    },
    run: (store) => store.collector.journal(30 * DAY, { dryRun: false, signal: new AbortController().signal }),
    unseen: true,
  },
};

/** Something of all that there is to collect, beside what must stay. */
async function rubbish(store, root) {
  await put(store, 'keep/k', 'kept', 'kept');
  await put(store, 'keep//k', 'kept', 'kept');
  await twoParts(store, 'multi');
  // an overflow object whose path is free by now
  await put(store, 'p', 'file', 'old');
  await put(store, 'p/q', 'below', 'below');
  await store.delete(BUCKET, 'p');
  // a file that nobody knows, one whose key is gone, directories that stand empty
  await writeFile(path.join(root, '.gos3rve/overflow', BUCKET, 'stray'), 'stray');
  await put(store, 'made/sub/gone', 'x', 'gone');
  await rm(path.join(root, BUCKET, 'made/sub/gone'));
  await store.live.lookAtDir([BUCKET, 'made', 'sub']);
  await put(store, 'theirs/here', 'x', 'x');
  await mkdir(path.join(root, BUCKET, 'theirs/empty'));
}
