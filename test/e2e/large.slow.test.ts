/** Memory does not grow with the work (DESIGN rule 7): one large object, and a multipart upload of 10,000 parts. GOS3RVE_FULL=1 takes 5 GiB. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bench, MiB, sha256File, type Bench } from './harness.js';
import { Client, eachOf, memoryGrowth, pattern } from './stream.js';

/** S3's largest single put is 5 GiB. */
const SIZE = (process.env.GOS3RVE_FULL === '1' ? 5 : 1) * 1024 * MiB;
const PARTS = 10_000;
const GROWTH = 64 * MiB;

describe.runIf(process.platform === 'linux')('large work in little memory', () => {
  let b: Bench;
  let s3: Client;
  beforeAll(async () => {
    b = await bench({ args: ['--create-bucket', 'box', '--min-part-size', '1', '--log-level', 'warn'] });
    s3 = new Client(b.server.port);
    // buffers and modules that any first request loads do not count
    for (let n = 0; n < 3; n++) {
      const warm = { size: 32 * MiB, chunks: pattern(32 * MiB, []) };
      expect((await s3.send({ method: 'PUT', target: '/box/warm', body: warm })).status).toBe(200);
      expect((await s3.send({ method: 'GET', target: '/box/warm', sink: () => undefined })).status).toBe(200);
    }
  });
  afterAll(async () => {
    s3.close();
    await b.end();
  });

  it(`puts and gets ${SIZE / MiB} MiB`, async () => {
    const md5 = createHash('md5');
    const sha256 = createHash('sha256');
    let putMs = 0;
    const putGrowth = await memoryGrowth(b.server, async () => {
      const body = { size: SIZE, chunks: pattern(SIZE, [md5, sha256]) };
      const put = await s3.send({ method: 'PUT', target: '/box/large', body });
      expect(put.status).toBe(200);
      expect(put.headers.etag).toBe(`"${md5.digest('hex')}"`);
      putMs = put.ms;
    });
    const wanted = sha256.digest('hex');
    const got = createHash('sha256');
    let getMs = 0;
    const getGrowth = await memoryGrowth(b.server, async () => {
      const get = await s3.send({ method: 'GET', target: '/box/large', sink: (chunk) => got.update(chunk) });
      expect(get.status).toBe(200);
      expect(get.headers['content-length']).toBe(String(SIZE));
      getMs = get.ms;
    });
    expect(got.digest('hex')).toBe(wanted);
    expect(await sha256File(path.join(b.server.root, 'box/large'))).toBe(wanted);
    console.log(
      `${SIZE / MiB} MiB: put ${Math.round(putMs)} ms, memory +${Math.round(putGrowth / MiB)} MiB; ` +
        `get ${Math.round(getMs)} ms, memory +${Math.round(getGrowth / MiB)} MiB`,
    );
    expect(putGrowth).toBeLessThan(GROWTH);
    expect(getGrowth).toBeLessThan(GROWTH);
  });

  it(`completes ${PARTS} parts`, async () => {
    const created = await s3.send({ method: 'POST', target: '/box/parts?uploads=' });
    const id = /<UploadId>([^<]+)</.exec(created.body.toString())?.[1] ?? '';
    expect(id).not.toBe('');
    const bodyOf = (n: number): Buffer => Buffer.from(`${n};`.padEnd(100 + (n % 50), '.'));
    const numbers = Array.from({ length: PARTS }, (_, i) => i + 1);
    const etags = new Map<number, string>();
    let completeMs = 0;
    const growth = await memoryGrowth(b.server, async () => {
      await eachOf(numbers, 24, async (n) => {
        const part = await s3.send({
          method: 'PUT',
          target: `/box/parts?partNumber=${n}&uploadId=${id}`,
          body: bodyOf(n),
        });
        expect(part.status).toBe(200);
        etags.set(n, part.headers.etag ?? '');
      });
      const rows = numbers.map((n) => `<Part><PartNumber>${n}</PartNumber><ETag>${etags.get(n)}</ETag></Part>`);
      const document = Buffer.from(`<CompleteMultipartUpload>${rows.join('')}</CompleteMultipartUpload>`);
      const done = await s3.send({ method: 'POST', target: `/box/parts?uploadId=${id}`, body: document });
      expect(done.status).toBe(200);
      // what comes before the document of a long completion is white space
      expect(done.body.toString()).toMatch(/^(<\?xml[^>]*>)?\s*(<\?xml[^>]*>)?\s*<CompleteMultipartUploadResult/);
      if (done.ms > 15_000) expect(done.body.toString()).toMatch(/^(<\?xml[^>]*>)?\s{2,}</);
      expect(done.body.toString()).toContain(`-${PARTS}`);
      completeMs = done.ms;
    });
    const whole = Buffer.concat(numbers.map(bodyOf));
    const got = await s3.send({ method: 'GET', target: '/box/parts' });
    expect(got.body.equals(whole)).toBe(true);
    const md5s = numbers.map((n) => createHash('md5').update(bodyOf(n)).digest());
    expect(got.headers.etag).toBe(`"${createHash('md5').update(Buffer.concat(md5s)).digest('hex')}-${PARTS}"`);
    const last = await s3.send({ method: 'GET', target: `/box/parts?partNumber=${PARTS}` });
    expect(last.status).toBe(206);
    expect(last.body.equals(bodyOf(PARTS))).toBe(true);
    // nothing of the parts stays behind
    await expect(stat(path.join(b.server.root, '.gos3rve/staging/uploads/box', id))).rejects.toThrow(/ENOENT/);
    console.log(`complete of ${PARTS} parts: ${Math.round(completeMs)} ms, memory +${Math.round(growth / MiB)} MiB`);
    expect(growth).toBeLessThan(GROWTH);
  });
});
