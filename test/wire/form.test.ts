/** Forms as they come over the wire: any cut into chunks gives the same form, and nothing makes it grow. */
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { readForm } from '../../src/wire/form.js';

const TYPE = 'multipart/form-data; boundary=xX--Xx';

async function* pieces(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (let n = 0; at < bytes.length; n++) {
    const size = sizes[n % sizes.length] ?? 1;
    yield Buffer.from(bytes.subarray(at, at + size));
    at += size;
  }
}

async function read(bytes: Buffer, sizes: readonly number[] = [65_536], type = TYPE) {
  const form = await readForm(pieces(bytes, sizes), type);
  const file: Uint8Array[] = [];
  for await (const chunk of form.chunks) file.push(Buffer.from(chunk));
  return { fields: Object.fromEntries(form.fields), filename: form.filename, file: Buffer.concat(file) };
}

function part(head: string, body: string | Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(`--xX--Xx\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
    Buffer.from(body),
    Buffer.from('\r\n'),
  ]);
}

const END = Buffer.from('--xX--Xx--\r\n');

describe('readForm', () => {
  it('gives fields and file, however the bytes are cut', async () => {
    const nasty = fc.constantFrom('\r\n--xX--X', '\r\n--', '\r', '\r\n', '--xX--Xx', '\r\n--xX--xx\r\n', '\0', 'é');
    const content = fc
      .array(fc.oneof(nasty, fc.string()), { maxLength: 8 })
      .map((list) => list.join(''))
      .filter((text) => !text.includes('\r\n--xX--Xx'));
    await fc.assert(
      fc.asyncProperty(
        content,
        content,
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
        async (value, file, sizes) => {
          const form = Buffer.concat([part('name="Key"', value), part('name="file"; filename="cat.jpg"', file), END]);
          const found = await read(form, sizes);
          expect(found.fields).toEqual({ key: value });
          expect(found.file.toString()).toBe(file);
          expect(found.filename).toBe('cat.jpg');
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each([
    ['name="file"; filename="C:\\\\photos\\\\cat.jpg"', 'cat.jpg'],
    ['name="file"; filename="../../cat.jpg"', 'cat.jpg'],
    ['name="file"; filename="a \\"b\\".jpg"', 'a "b".jpg'],
    ['name="file"; filename="a %22b%22.jpg"', 'a "b".jpg'],
    ['filename=plain.jpg; name=file', 'plain.jpg'],
    ['name="file"', ''],
  ])('reads the name in %s', async (head, filename) => {
    expect((await read(Buffer.concat([part(head, 'x'), END]))).filename).toBe(filename);
  });

  it('does not care what stands before the first boundary, or follows the file', async () => {
    const form = Buffer.concat([Buffer.from('hello\r\n'), part('name="file"', 'x'), part('name="submit"', 'go'), END]);
    expect((await read(form)).file.toString()).toBe('x');
  });

  it('takes a quoted boundary', async () => {
    const form = Buffer.concat([part('name="file"', 'x'), END]);
    expect((await read(form, [7], 'Multipart/Form-Data; charset=utf-8; boundary="xX--Xx"')).file.toString()).toBe('x');
  });

  it.each([
    ['no form', Buffer.from('hello'), TYPE, 'MalformedPOSTRequest'],
    ['another type', part('name="file"', 'x'), 'application/json', 'PreconditionFailed'],
    ['no boundary', part('name="file"', 'x'), 'multipart/form-data', 'PreconditionFailed'],
    ['a file that is cut off', part('name="file"', 'x').subarray(0, -2), TYPE, 'MalformedPOSTRequest'],
    ['a field that is cut off', part('name="key"', 'x').subarray(0, -2), TYPE, 'MalformedPOSTRequest'],
    ['no file', Buffer.concat([part('name="key"', 'x'), END]), TYPE, 'InvalidArgument'],
    ['a field twice', Buffer.concat([part('name="key"', 'x'), part('name="KEY"', 'y'), END]), TYPE, 'InvalidArgument'],
    ['a field without a name', Buffer.concat([part('filename="x"', 'x'), END]), TYPE, 'MalformedPOSTRequest'],
    [
      'a field that is no UTF-8',
      Buffer.concat([part('name="key"', Buffer.from([0xff])), END]),
      TYPE,
      'MalformedPOSTRequest',
    ],
    ['a huge field', part('name="key"', 'x'.repeat(100_000)), TYPE, 'MaxMessageLengthExceeded'],
    [
      'many fields',
      Buffer.concat(Array.from({ length: 300 }, (_, n) => part(`name="a${n}"`, 'x'))),
      TYPE,
      'MaxMessageLengthExceeded',
    ],
    ['endless headers', Buffer.from(`--xX--Xx\r\n${'x: y\r\n'.repeat(10_000)}`), TYPE, 'MaxMessageLengthExceeded'],
    ['no boundary for long', Buffer.alloc(100_000, 'x'), TYPE, 'MaxMessageLengthExceeded'],
  ])('refuses %s', async (_, bytes, type, code) => {
    await expect(read(bytes, [1000], type)).rejects.toMatchObject({ code });
  });
});
