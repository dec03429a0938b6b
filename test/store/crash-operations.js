/**
 * The operations of the crash test, for the child that dies in one and for the parent that sets the stage and knows how it may end.
 * Each has `setup`, `run` and, where an interrupted one may rightly be seen half done, `between`: names of those states.
 */
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
    setup: (store) => put(store, 'k', 'same', 'old'),
    run: (store) => put(store, 'k', 'same', 'new'),
  },
  'put an overflow object': {
    setup: (store) => put(store, 'a', 'file', 'old'),
    run: (store) => put(store, 'a/below', 'new', 'new'),
  },
  'overwrite an overflow object': {
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
  'delete an overflow object': {
    setup: (store) => put(store, '../up', 'old', 'old'),
    run: (store) => store.delete(BUCKET, '../up'),
  },
  'copy over an object': {
    setup: async (store) => {
      await put(store, 'from', 'source', 'source');
      await put(store, 'to', 'old target', 'old');
    },
    run: (store) => store.copy(ref('from'), ref('to')),
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
    setup: async (store) => {
      await put(store, 'a/one', 'one', 'one');
      await put(store, 'a//odd', 'odd', 'odd');
      await put(store, 'a/one/below', 'below', 'below');
    },
    run: (store) => store.movePrefix(ref('a/'), ref('z/')),
  },
  'move a prefix from another bucket': {
    setup: async (store) => {
      await store.createBucket('other', {});
      await store.put('other', 'a/one', body('one'), { facts: facts('one') });
      await store.put('other', 'a//odd', body('odd'), { facts: facts('odd') });
    },
    run: (store) => store.movePrefix({ bucket: 'other', key: 'a/' }, ref('z/y/')),
  },
  'merge a prefix with another': {
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
  append: {
    setup: (store) => put(store, 'log', 'one,', 'log'),
    run: (store) => store.append(BUCKET, 'log', 4, body('two and a half,')),
  },
  'put a marker': { setup: nothing, run: (store) => put(store, 'm/n/', '', 'marker') },
  'delete a marker': {
    setup: (store) => put(store, 'm/n/', '', 'marker'),
    run: (store) => store.delete(BUCKET, 'm/n/'),
  },
  'change tags': {
    setup: (store) => put(store, 'k', 'bytes', 'old'),
    run: (store) => store.updateFacts(BUCKET, 'k', (old) => ({ ...old, tags: [['changed', 'yes']] })),
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
  'abort an upload': {
    setup: (store) => twoParts(store, 'multi'),
    run: async (store) => store.abortUpload(BUCKET, 'multi', (await onlyUpload(store)).uploadId),
  },
  'create a bucket': { setup: nothing, run: (store) => store.createBucket('fresh', { region: 'eu-central-1' }) },
  'delete a bucket': {
    setup: (store) => store.createBucket('empty', { region: 'eu-central-1' }),
    run: (store) => store.deleteBucket('empty'),
  },
};
