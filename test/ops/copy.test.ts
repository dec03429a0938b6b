import { describe, expect, it } from 'vitest';
import type { KeyFacts } from '../../src/base/model.js';
import { copyObject } from '../../src/ops/copy.js';
import type { ObjectInfo } from '../../src/store/contract.js';
import { ALICE, bob, BOB, context, input, object } from './stub.js';

const source = object('src', {
  facts: {
    contentType: 'text/plain',
    metadata: { a: '1' },
    tags: [['t', 'old']],
    storageClass: 'GLACIER',
    websiteRedirect: '/x',
    owner: BOB,
    acl: { owner: BOB, grants: [] },
  },
});

async function copy(headers: Record<string, string>, of: ObjectInfo = source, who?: typeof bob): Promise<KeyFacts> {
  let facts: KeyFacts = {};
  const ctx = context(
    {
      async copy(_from, _to, options) {
        facts = options?.facts?.(of) ?? {};
        return object('dst', { facts });
      },
    },
    who ? { identity: who } : {},
  );
  await copyObject(ctx, input({ key: 'dst', headers: { 'x-amz-copy-source': '/photos/src', ...headers } }));
  return facts;
}

describe('CopyObject', () => {
  it('takes metadata and tags along; never ACL, owner, class or redirect', async () => {
    expect(await copy({})).toEqual({ contentType: 'text/plain', metadata: { a: '1' }, tags: [['t', 'old']] });
    // Given without their directives, these count for nothing.
    expect(await copy({ 'x-amz-meta-b': '2', 'content-type': 'a/b', 'x-amz-tagging': 't=new' })).toEqual(
      await copy({}),
    );
  });

  it('replaces each as its directive says', async () => {
    const meta = { 'x-amz-metadata-directive': 'REPLACE', 'x-amz-meta-b': '2' };
    expect(await copy(meta)).toEqual({ metadata: { b: '2' }, tags: [['t', 'old']] });
    const tags = { 'x-amz-tagging-directive': 'REPLACE', 'x-amz-tagging': 't=new' };
    expect((await copy(tags)).tags).toEqual([['t', 'new']]);
    expect(await copy({ 'x-amz-tagging-directive': 'REPLACE' })).not.toHaveProperty('tags');
    expect((await copy({ 'x-amz-storage-class': 'STANDARD_IA' })).storageClass).toBe('STANDARD_IA');
  });

  it('gives the copy to who copies', async () => {
    expect((await copy({}, source, bob)).owner).toEqual(BOB);
    expect((await copy({ 'x-amz-acl': 'public-read' })).acl?.owner).toEqual(ALICE);
  });

  it('takes a copy onto itself only with a change', async () => {
    const ctx = context({ copy: () => Promise.resolve(object('src')) });
    const self = (headers: Record<string, string>) =>
      copyObject(ctx, input({ key: 'src', headers: { 'x-amz-copy-source': 'photos/src', ...headers } }));
    await expect(self({})).rejects.toMatchObject({ code: 'InvalidRequest' });
    await expect(self({ 'x-amz-metadata-directive': 'REPLACE' })).resolves.toHaveProperty('xml');
  });

  it.each<[Record<string, string>, string, ObjectInfo?]>([
    [{ 'x-amz-metadata-directive': 'MERGE' }, 'InvalidArgument'],
    [{ 'x-amz-tagging-directive': 'x' }, 'InvalidArgument'],
    [{ 'x-amz-copy-source': '/photos/src?versionId=abc' }, 'NoSuchVersion'],
    [{ 'x-amz-checksum-algorithm': 'CRC16' }, 'InvalidRequest'],
    [{ 'x-amz-copy-source-if-match': '"x"' }, 'PreconditionFailed'],
    [{ 'x-amz-copy-source-if-none-match': `"${source.etag}"` }, 'PreconditionFailed'],
    [{ 'x-amz-server-side-encryption': 'AES256' }, 'NotImplemented'],
    [{ 'x-amz-object-lock-mode': 'GOVERNANCE' }, 'InvalidRequest'],
    [{}, 'InvalidRequest', object('src', { size: 5 * 1024 ** 3 + 1 })],
  ])('refuses %j with %s', async (headers, code, of) => {
    await expect(copy(headers, of)).rejects.toMatchObject({ code });
  });
});
