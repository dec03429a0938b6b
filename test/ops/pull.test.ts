import { expect, it } from 'vitest';
import fc from '../fast-check.js';
import { pull } from '../../src/ops/pull.js';
import { object, opened } from './stub.js';

it('gives the bytes of any range, whatever the chunks', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(200),
      fc.nat(200),
      fc.integer({ min: 1, max: 64 }),
      async (bytes, a, b, chunk) => {
        const start = Math.min(a, b, bytes.length);
        const end = Math.min(Math.max(a, b), bytes.length);
        const open = opened(object('k', { size: bytes.length }), [], Buffer.from(bytes), chunk);
        const got: Uint8Array[] = [];
        // The reader uses its buffer again, and a store keeps the chunks of a body until it has enough for a large write.
        for await (const piece of pull(open, start, end)) {
          await new Promise((resolve) => setImmediate(resolve));
          got.push(piece);
        }
        expect(Buffer.concat(got)).toEqual(Buffer.from(bytes.slice(start, end)));
      },
    ),
    { numRuns: 60 },
  );
});

it('ends the read when the consumer stops early', async () => {
  const open = opened(object('k', { size: 100 }));
  let sunk = 0;
  let ended: unknown;
  const read = open.read.bind(open);
  open.read = (start, end, sink) =>
    read(start, end, (chunk) => {
      sunk++;
      return sink(chunk);
    }).catch((error: unknown) => {
      ended = error;
      throw error;
    });
  for await (const chunk of pull(open, 0, 100)) {
    expect(chunk).toHaveLength(4);
    break;
  }
  expect(sunk).toBe(1);
  expect(ended).toBeInstanceOf(Error);
});

it('passes on what the read throws, after the bytes before it', async () => {
  const open = opened(object('k', { size: 8 }));
  open.read = async (_start, _end, sink) => {
    await sink(Buffer.from('abc'));
    throw new Error('the file was changed');
  };
  const got: string[] = [];
  const reading = (async () => {
    for await (const chunk of pull(open, 0, 8)) got.push(Buffer.from(chunk).toString());
  })();
  await expect(reading).rejects.toThrow('the file was changed');
  expect(got).toEqual(['abc']);
});
