/** A hundred clients on one key: every reader gets one writer's object whole, with the headers that belong to it. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bench, MiB, type Bench } from './harness.js';
import { Client, type Answer } from './stream.js';

const CLIENTS = 100;
const ROUNDS = 12;
const md5 = (bytes: Buffer): string => createHash('md5').update(bytes).digest('hex');

/** Names its writer in every 64 bytes; sizes differ from writer to writer, up to several chunks of a read. */
function bodyOf(writer: number, round: number): Buffer {
  const line = `${writer}.${round};`.padEnd(64, '-');
  const sizes = [64, 64 * 100, 64 * 9000, 2 * MiB];
  return Buffer.alloc(sizes[(writer + round) % sizes.length] ?? 64, line);
}

/** Throws unless the answer is exactly what one writer put. */
function check(answer: Answer): void {
  const [, writer, round] = /^(\d+)\.(\d+);/.exec(answer.body.subarray(0, 64).toString('latin1')) ?? [];
  const whole = bodyOf(Number(writer), Number(round));
  expect(answer.body.length, `length of ${writer}.${round}`).toBe(whole.length);
  expect(answer.body.equals(whole), `bytes of ${writer}.${round}`).toBe(true);
  expect(answer.headers.etag).toBe(`"${md5(whole)}"`);
  expect(answer.headers['x-amz-meta-writer']).toBe(`${writer}.${round}`);
}

describe('100 clients at once on one key', () => {
  let b: Bench;
  beforeAll(async () => {
    b = await bench({ workers: 2, args: ['--create-bucket', 'box', '--log-level', 'warn'] });
  });
  afterAll(async () => {
    await b.end();
  });

  it('never gives a torn or mixed object', async () => {
    const s3 = new Client(b.server.port, CLIENTS);
    const put = (writer: number, round: number): Promise<Answer> =>
      s3.send({
        method: 'PUT',
        target: '/box/key',
        headers: { 'x-amz-meta-writer': `${writer}.${round}` },
        body: bodyOf(writer, round),
      });
    expect((await put(0, 0)).status).toBe(200);
    let reads = 0;
    const one = async (writer: number): Promise<void> => {
      for (let round = 0; round < ROUNDS; round++) {
        if ((writer + round) % 3 === 0) {
          const answer = await put(writer, round);
          expect(answer.status).toBe(200);
          expect(answer.headers.etag).toBe(`"${md5(bodyOf(writer, round))}"`);
        } else {
          const answer = await s3.send({ method: 'GET', target: '/box/key' });
          expect(answer.status).toBe(200);
          check(answer);
          reads++;
        }
      }
    };
    await Promise.all(Array.from({ length: CLIENTS }, (_, writer) => one(writer)));
    expect(reads).toBeGreaterThan(CLIENTS);
    const last = await s3.send({ method: 'GET', target: '/box/key' });
    check(last);
    expect((await readFile(path.join(b.server.root, 'box/key'))).equals(last.body)).toBe(true);
    s3.close();
  });

  it('lets one of 100 creators win', async () => {
    const s3 = new Client(b.server.port, CLIENTS);
    const answers = await Promise.all(
      Array.from({ length: CLIENTS }, (_, writer) =>
        s3.send({
          method: 'PUT',
          target: '/box/new',
          headers: { 'if-none-match': '*', 'x-amz-meta-writer': `${writer}.0` },
          body: bodyOf(writer, 0),
        }),
      ),
    );
    const won = answers.flatMap(({ status }, writer) => (status === 200 ? [writer] : []));
    expect(won).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412 || status === 409)).toHaveLength(CLIENTS - 1);
    const got = await s3.send({ method: 'GET', target: '/box/new' });
    check(got);
    expect(got.headers['x-amz-meta-writer']).toBe(`${won[0]}.0`);
    s3.close();
  });
});
