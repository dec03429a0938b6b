/**
 * Every form of path traversal at every door. Canaries lie beside the root, at its top, in a sibling bucket and in
 * `.gos3rve`: none may be read, changed or deleted by a request on the bucket `box`.
 */
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { picture } from '../suites/store/kit.js';
import type { Bench } from './harness.js';
import { bench } from './harness.js';
import type { RawRequest, RawResponse } from './raw.js';
import { send, sendBytes, sign, frame } from './raw.js';

/** What a server makes in `.gos3rve` when it needs it. */
const MADE_LATER = new Set([
  'server.json',
  'clock',
  'journal',
  'index',
  'buckets',
  'staging',
  'overflow',
  'versions',
  'reserve',
]);
const TOKEN = 'CANARY-7f3a9c';
const DOTS = [
  '..',
  '%2e%2e',
  '%2E%2E',
  '.%2e',
  '%2e.',
  '%252e%252e',
  '%c0%ae%c0%ae',
  '%e0%80%ae%e0%80%ae',
  '%f0%80%80%ae%f0%80%80%ae',
  '..%00',
  '..;',
  '%u002e%u002e',
  '%ef%bc%8e%ef%bc%8e',
];
const SEPARATORS = ['/', '%2f', '%2F', '%5c', '\\', '%252f', '%255c', '%c0%af', '%e0%80%af', '//', '/./', '%00/'];
const TARGETS = [
  { up: 1, to: ['sibling', 'canary'] },
  { up: 1, to: ['canary'] },
  { up: 1, to: ['.gos3rve', 'canary'] },
  { up: 2, to: ['canary'] },
];

/** Key forms as they stand in a URL; generated, so that none is forgotten. */
function vectors(): string[] {
  const made = new Set<string>();
  for (const dots of DOTS) {
    for (const separator of SEPARATORS) {
      for (const { up, to } of TARGETS) made.add([...Array<string>(up).fill(dots), ...to].join(separator));
    }
    made.add(`here/${dots}/${dots}/sibling/canary`);
    made.add(`${dots}/`.repeat(12) + 'etc/passwd');
  }
  for (const absolute of [
    '/etc/passwd',
    '//etc/passwd',
    '%2fetc%2fpasswd',
    '%5cetc%5cpasswd',
    'C:%5cwindows',
    'file:///etc/passwd',
  ]) {
    made.add(absolute);
  }
  for (const own of [
    '.gos3rve/canary',
    '%2egos3rve/canary',
    '.gos3rve%2fcanary',
    '.gos3rve%00/canary',
    './.gos3rve/canary',
    '.gos3rve/credentials.json',
    'x/../.gos3rve/canary',
    '.gos3rve\\canary',
    '.gos3rve./canary',
    '.GOS3RVE/canary',
  ]) {
    made.add(own);
    made.add(`..%2f${own}`);
    made.add(`../${own}`);
  }
  return [...made];
}
const VECTORS = vectors();

/** The vector as a program that decodes percent escapes would read it; undefined where it is no UTF-8. */
function decoded(vector: string): string | undefined {
  try {
    return decodeURIComponent(vector);
  } catch {
    return undefined;
  }
}

describe('traversal', () => {
  let b: Bench;
  let before: Record<string, string>;

  /** All but the bucket `box`, whose content requests may change. */
  const outside = async (): Promise<Record<string, string>> => {
    const all = Object.entries(await picture(b.base)).filter(([name]) => !name.startsWith('root/box/'));
    const state = path.join(b.server.root, '.gos3rve');
    const kept = (await readdir(state)).filter((name) => !MADE_LATER.has(name)).sort();
    return {
      ...Object.fromEntries(all),
      state: kept.join(' '),
      canary: await readFile(path.join(state, 'canary'), 'utf8'),
    };
  };
  /** Sends all, a few at a time, and asserts what holds for every answer. */
  const ask = async (
    requests: RawRequest[],
    check?: (answer: RawResponse, request: RawRequest) => void,
  ): Promise<void> => {
    expect(requests.length).toBeGreaterThan(300);
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let request = requests[next++]; request; request = requests[next++]) {
        const answer = await send(b.server.port, request);
        const said = `${request.method} ${request.target} ${JSON.stringify(request.headers ?? {})} -> ${answer.raw.slice(0, 600)}`;
        expect(answer.raw, said).not.toContain(TOKEN);
        expect(answer.raw, said).not.toContain('root:x:0:0');
        expect(answer.status, said).toBeGreaterThanOrEqual(200);
        expect(answer.status, said).toBeLessThan(500);
        // Refused for what it asks, not for how it was signed.
        expect(answer.code, said).not.toBe('SignatureDoesNotMatch');
        check?.(answer, request);
      }
    };
    await Promise.all([worker(), worker(), worker(), worker()]);
  };
  const refused = (answer: RawResponse, request: RawRequest): void => {
    const said = `${request.method} ${request.target} ${JSON.stringify(request.headers ?? {})}`;
    expect(answer.status, said).toBeGreaterThanOrEqual(400);
  };

  beforeAll(async () => {
    b = await bench({}, async (root) => {
      await mkdir(path.join(root, 'box', 'here'), { recursive: true });
      await mkdir(path.join(root, 'sibling'));
      await writeFile(path.join(root, 'box', 'inside.txt'), 'inside');
      for (const place of ['..', '.', 'sibling'])
        await writeFile(path.join(root, place, 'canary'), `${TOKEN} ${place}`);
    });
    await writeFile(path.join(b.server.root, '.gos3rve', 'canary'), TOKEN);
    before = await outside();
  });
  afterAll(async () => {
    expect(b.server.alive()).toBe(true);
    await b.end();
  });

  it('has enough vectors', () => {
    expect(VECTORS.length).toBeGreaterThan(500);
  });

  it.each(['GET', 'HEAD'])('%s of a key', { timeout: 120_000 }, async (method) => {
    await ask(
      VECTORS.map((vector) => ({ method, target: `/box/${vector}` })),
      refused,
    );
  });

  it('GET where the bucket itself is a traversal', { timeout: 120_000 }, async () => {
    const targets = VECTORS.flatMap((vector) => [`/${vector}`, `/box%2f${vector}`, `/box${vector}`]);
    await ask(
      // A vector may happen to be the plain name of another bucket or key: those are no traversal.
      targets
        .filter((target) => !/^\/+(sibling\/canary|box)$/.test(target))
        .map((target) => ({ method: 'GET', target })),
      refused,
    );
  });

  it.each(['x-amz-copy-source', 'x-amz-rename-source'])('%s', { timeout: 120_000 }, async (header) => {
    const query = header === 'x-amz-rename-source' ? '?renameObject' : '';
    await ask(
      VECTORS.flatMap((vector) =>
        [`box/${vector}`, `/box/${vector}`, vector].map((value) => ({
          method: 'PUT',
          target: `/box/taken.txt${query}`,
          headers: { [header]: value },
        })),
      ),
      refused,
    );
    expect((await send(b.server.port, { method: 'HEAD', target: '/box/taken.txt' })).status).toBe(404);
  });

  it('x-amz-copy-source of UploadPartCopy', { timeout: 120_000 }, async () => {
    const started = await send(b.server.port, { method: 'POST', target: '/box/multi?uploads' });
    const id = /<UploadId>([^<]+)</.exec(started.body)?.[1] ?? 'none';
    await ask(
      VECTORS.map((vector) => ({
        method: 'PUT',
        target: `/box/multi?partNumber=1&uploadId=${id}`,
        headers: { 'x-amz-copy-source': `/box/${vector}` },
      })),
      refused,
    );
  });

  it('prefix, start-after and marker of the listings', { timeout: 120_000 }, async () => {
    const parameters = [
      'list-type=2&prefix',
      'list-type=2&delimiter=%2F&prefix',
      'prefix',
      'versions&prefix',
      'uploads&prefix',
    ];
    const queries = VECTORS.flatMap((vector, n) => {
      const encoded = vector.replace(/[^%\w.~-]/g, (letter) => encodeURIComponent(letter));
      return [`${parameters[n % parameters.length]}=${encoded}`, `list-type=2&max-keys=1&start-after=${encoded}`];
    });
    await ask(
      queries.map((query) => ({ method: 'GET', target: `/box?${query}` })),
      (answer, { target }) => {
        if (answer.status !== 200) return;
        const keys = [...answer.body.matchAll(/<Key>([^<]*)<\/Key>/g)].map((match) => match[1]);
        expect(
          keys.filter((key) => key !== 'inside.txt' && key !== 'multi'),
          target,
        ).toEqual([]);
      },
    );
  });

  it('uploadId', { timeout: 120_000 }, async () => {
    const methods = ['GET', 'PUT', 'DELETE', 'POST'];
    await ask(
      VECTORS.map((vector, n) => {
        const method = methods[n % methods.length] ?? 'GET';
        const encoded = vector.replace(/[^%\w.~-]/g, (letter) => encodeURIComponent(letter));
        const body =
          method === 'POST'
            ? '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>'
            : '';
        return { method, target: `/box/multi?uploadId=${encoded}${method === 'PUT' ? '&partNumber=1' : ''}`, body };
      }),
      refused,
    );
    expect(await outside()).toEqual(before);
  });

  it('versionId', { timeout: 120_000 }, async () => {
    await ask(
      VECTORS.map((vector) => ({
        method: 'GET',
        target: `/box/inside.txt?versionId=${vector.replace(/[^%\w.~-]/g, (letter) => encodeURIComponent(letter))}`,
      })),
      refused,
    );
  });

  it('Host of a virtual-hosted request', { timeout: 120_000 }, async () => {
    const hosts = ['..', '../sibling', '.gos3rve', '%2e%2e', '..%2fsibling', '/etc', 'box/../sibling', '.', ''];
    for (const host of hosts) {
      const request = { method: 'GET', target: '/canary', headers: { host: `${host}.localhost` } };
      const answer = await sendBytes(b.server.port, frame(request, sign(b.server.port, request).headers));
      expect(answer.raw, host).not.toContain(TOKEN);
      expect(answer.status, host).toBeGreaterThanOrEqual(400);
    }
  });

  it('CreateBucket and DeleteBucket', { timeout: 120_000 }, async () => {
    const names = VECTORS.map((vector) => `/${vector.replaceAll('/', '%2f')}`);
    await ask(
      [...names.map((target) => ({ method: 'PUT', target })), ...names.map((target) => ({ method: 'DELETE', target }))],
      refused,
    );
    expect(await outside()).toEqual(before);
  });

  it('PUT, then DELETE, of a key', { timeout: 240_000 }, async () => {
    await ask(VECTORS.map((vector) => ({ method: 'PUT', target: `/box/${vector}`, body: 'PWNED' })));
    expect(await outside()).toEqual(before);
    await ask(VECTORS.map((vector) => ({ method: 'DELETE', target: `/box/${vector}` })));
    expect(await outside()).toEqual(before);
  });

  it('keys in the body of DeleteObjects', { timeout: 120_000 }, async () => {
    // NUL cannot stand in XML: a reference to it must be refused too.
    const escape = (key: string): string => key.replace(/[&<>\u0000]/g, (letter) => `&#${letter.charCodeAt(0)};`);
    const bodies = VECTORS.flatMap((vector) => [vector, decoded(vector) ?? vector]).map(
      (key) => `<Delete><Object><Key>${escape(key)}</Key></Object></Delete>`,
    );
    await ask(bodies.map((body) => ({ method: 'POST', target: '/box?delete', body })));
    expect(await outside()).toEqual(before);
  });

  it('leaves every canary and the bucket as they were', async () => {
    expect(await outside()).toEqual(before);
    const listed = await send(b.server.port, { method: 'GET', target: '/sibling?list-type=2' });
    expect([...listed.body.matchAll(/<Key>([^<]*)</g)].map((match) => match[1])).toEqual(['canary']);
    expect(await readFile(path.join(b.server.root, 'box', 'inside.txt'), 'utf8')).toBe('inside');
  });
});
