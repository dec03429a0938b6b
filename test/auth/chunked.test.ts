import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import fc from '../fast-check.js';
import { decodeBody, type DecodeOptions } from '../../src/auth/chunked.js';
import { signHeaders } from '../../src/auth/presign.js';
import { chunkSignature, trailerSignature } from '../../src/auth/signature.js';
import { authenticate } from '../../src/auth/sigv4.js';
import type { ChunkSigning, PayloadMode } from '../../src/auth/types.js';
import { ALICE, keyring, NOW, refusedLater, SCOPE } from './fixtures.js';

const CRC = 'x-amz-checksum-crc32c';
const unsigned: PayloadMode = { kind: 'chunked', trailer: true };

interface Outcome {
  body: Buffer;
  trailers: Record<string, string> | undefined;
}

async function* inPieces(wire: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) {
    if (at >= wire.length) return;
    yield wire.subarray(at, at + size);
    at += size;
  }
  if (at < wire.length) yield wire.subarray(at);
}

async function decode(
  wire: Buffer | string,
  mode: PayloadMode,
  options: Partial<DecodeOptions> = {},
  sizes: readonly number[] = [],
): Promise<Outcome> {
  let trailers: Record<string, string> | undefined;
  const chunks = decodeBody(inPieces(Buffer.from(wire as string, 'latin1'), sizes), mode, {
    announcedTrailers: [],
    onTrailers: (found) => (trailers = found),
    ...options,
  });
  const pieces: Uint8Array[] = [];
  for await (const piece of chunks) pieces.push(Buffer.from(piece));
  return { body: Buffer.concat(pieces), trailers };
}

/** What a request with that x-amz-content-sha256 signs its chunks with. */
function signing(payload: string): { mode: PayloadMode; keys: ChunkSigning } {
  const signed = signHeaders({ method: 'PUT', url: 'http://h/b/k', credential: ALICE, region: 'r', now: NOW, payload });
  const request = { method: 'PUT', url: '/b/k', headers: signed.headers };
  return { mode: authenticate(request, keyring(), { region: 'any', now: NOW }).payload, keys: signed.signing };
}

const SIGNED = 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD';

/** The wire form of signed chunks, the last empty one included. */
function encodeSigned(keys: ChunkSigning, chunks: readonly Buffer[], trailers?: Record<string, string>): Buffer {
  let previous = keys.seed;
  const out: Buffer[] = [];
  for (const chunk of [...chunks.filter((c) => c.length > 0), Buffer.alloc(0)]) {
    const hash = createHash('sha256').update(chunk).digest('hex');
    previous = chunkSignature(keys, previous, hash).toString('hex');
    out.push(Buffer.from(`${chunk.length.toString(16)};chunk-signature=${previous}\r\n`), chunk);
    if (chunk.length > 0) out.push(Buffer.from('\r\n'));
  }
  if (trailers !== undefined) {
    const lines = Object.entries(trailers);
    const canonical = lines.map(([name, value]) => `${name}:${value}\n`).join('');
    const signature = trailerSignature(keys, previous, canonical).toString('hex');
    for (const [name, value] of lines) out.push(Buffer.from(`${name}:${value}\r\n`));
    out.push(Buffer.from(`x-amz-trailer-signature:${signature}\r\n`));
  }
  return Buffer.concat([...out, Buffer.from('\r\n')]);
}

function encodeUnsigned(chunks: readonly Buffer[], trailers: Record<string, string> = {}): Buffer {
  const out = chunks
    .filter((c) => c.length > 0)
    .flatMap((c) => [Buffer.from(`${c.length.toString(16)}\r\n`), c, Buffer.from('\r\n')]);
  const lines = Object.entries(trailers).map(([name, value]) => `${name}:${value}\r\n`);
  return Buffer.concat([...out, Buffer.from(`0\r\n${lines.join('')}\r\n`)]);
}

const A = Buffer.alloc(65_536, 'a');
const B = Buffer.alloc(1024, 'a');

/** A published example: its headers, signatures of seed and chunks, and of the trailer. */
function published(headers: Record<string, string>, payload: string, seed: string): PayloadMode {
  const all: Record<string, string> = {
    ...headers,
    host: 's3.amazonaws.com',
    'x-amz-date': '20130524T000000Z',
    'x-amz-content-sha256': payload,
    'x-amz-storage-class': 'REDUCED_REDUNDANCY',
    'content-encoding': 'aws-chunked',
    'x-amz-decoded-content-length': '66560',
  };
  const names = Object.keys(all).sort().join(';');
  const authorization = `AWS4-HMAC-SHA256 Credential=${ALICE.accessKey}/${SCOPE},SignedHeaders=${names},Signature=${seed}`;
  const request = { method: 'PUT', url: '/examplebucket/chunkObject.txt', headers: { ...all, authorization } };
  return authenticate(request, keyring(), { region: 'us-east-1', now: NOW }).payload;
}

function wireOf(signatures: readonly string[], tail: string): Buffer {
  const [first, second, last] = signatures;
  return Buffer.concat([
    Buffer.from(`10000;chunk-signature=${first}\r\n`),
    A,
    Buffer.from(`\r\n400;chunk-signature=${second}\r\n`),
    B,
    Buffer.from(`\r\n0;chunk-signature=${last}\r\n${tail}`),
  ]);
}

describe("AWS's published examples", () => {
  const chunks = [
    'ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648',
    '0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497',
    'b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9',
  ];

  it('signed chunks', async () => {
    const mode = published(
      { 'content-length': '66824' },
      SIGNED,
      '4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9',
    );
    const wire = wireOf(chunks, '\r\n');
    expect(wire.length).toBe(66_824);
    const { body, trailers } = await decode(wire, mode, { decodedLength: 66_560 });
    expect(body.equals(Buffer.concat([A, B]))).toBe(true);
    expect(trailers).toBeUndefined();
  });

  it.each(['\r\n', '\n\r\n'])('signed chunks with a signed trailer, line end %j', async (end) => {
    const mode = published(
      { 'x-amz-trailer': CRC },
      `${SIGNED}-TRAILER`,
      '106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e',
    );
    const signatures = [
      'b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2',
      '1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7',
      '2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992',
    ];
    const tail = `${CRC}:sOO8/Q==${end}x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n`;
    const result = await decode(wireOf(signatures, tail), mode, { decodedLength: 66_560, announcedTrailers: [CRC] });
    expect(result.body.length).toBe(66_560);
    expect(result.trailers).toEqual({ [CRC]: 'sOO8/Q==' });
  });
});

describe('any splitting of the wire gives the same bytes', () => {
  const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
  const bodies = fc.array(bytes, { maxLength: 5 });
  const splits = fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 60 });

  it('unsigned with trailer', async () => {
    await fc.assert(
      fc.asyncProperty(bodies, splits, async (chunks, sizes) => {
        const body = Buffer.concat(chunks);
        const options = { decodedLength: body.length, announcedTrailers: [CRC] };
        const result = await decode(encodeUnsigned(chunks, { [CRC]: 'sOO8/Q==' }), unsigned, options, sizes);
        expect(result).toEqual({ body, trailers: { [CRC]: 'sOO8/Q==' } });
      }),
    );
  });

  it('signed, with and without trailer', async () => {
    const plain = signing(SIGNED);
    const trailing = signing(`${SIGNED}-TRAILER`);
    await fc.assert(
      fc.asyncProperty(bodies, splits, fc.boolean(), async (chunks, sizes, withTrailer) => {
        const { mode, keys } = withTrailer ? trailing : plain;
        const trailers = withTrailer ? { [CRC]: 'sOO8/Q==' } : undefined;
        const options = { announcedTrailers: withTrailer ? [CRC] : [] };
        const result = await decode(encodeSigned(keys, chunks, trailers), mode, options, sizes);
        expect(result).toEqual({ body: Buffer.concat(chunks), trailers });
      }),
    );
  });

  it('no cut and no changed byte of a signed body goes through as whole', async () => {
    const { mode, keys } = signing(`${SIGNED}-TRAILER`);
    const body = Buffer.from('some bytes, more bytes');
    const wire = encodeSigned(keys, [body.subarray(0, 11), body.subarray(11)], { [CRC]: 'sOO8/Q==' });
    const options = { decodedLength: body.length, announcedTrailers: [CRC] };
    await fc.assert(
      fc.asyncProperty(fc.nat(wire.length - 5), fc.integer({ min: 1, max: 255 }), splits, async (at, flip, sizes) => {
        await expect(decode(wire.subarray(0, at), mode, options, sizes)).rejects.toThrow();
        const changed = Buffer.from(wire);
        changed[at] = (changed[at] ?? 0) ^ flip;
        // A change of letter case or of white space around a trailer is none of its value; all else must fail.
        const outcome = await decode(changed, mode, options, sizes).catch(() => undefined);
        if (outcome !== undefined) expect(outcome).toEqual({ body, trailers: { [CRC]: 'sOO8/Q==' } });
      }),
      { numRuns: 300 },
    );
  });
});

describe('a signed chunk', () => {
  it('is never passed on whole when its signature is wrong', async () => {
    const { mode, keys } = signing(SIGNED);
    const good = encodeSigned(keys, [Buffer.alloc(100, 'a'), Buffer.alloc(100, 'b')]);
    const wire = Buffer.from(good);
    wire[wire.indexOf('b'.repeat(100)) + 99] = 0x63;
    const got: Uint8Array[] = [];
    await refusedLater('SignatureDoesNotMatch', async () => {
      const options = { announcedTrailers: [], onTrailers: () => undefined };
      for await (const piece of decodeBody(inPieces(wire, new Array<number>(300).fill(10)), mode, options))
        got.push(piece);
    });
    expect(Buffer.concat(got).length).toBeLessThan(200);
  });

  it.each<[string, (wire: string) => string]>([
    ['swapped chunks', (w) => w.replace(/^(3;.{80}\r\n...\r\n)(3;.{80}\r\n...\r\n)/s, '$2$1')],
    ['missing chunk', (w) => w.replace(/^3;.{80}\r\n...\r\n/s, '')],
    ['no signature', (w) => w.replace(/;chunk-signature=\w+/, '')],
    ['early last chunk', (w) => w.replace(/^3;/, '0;')],
  ])('is refused: %s', async (_, change) => {
    const { mode, keys } = signing(SIGNED);
    const wire = encodeSigned(keys, [Buffer.from('abc'), Buffer.from('def')]).toString('latin1');
    expect(change(wire)).not.toBe(wire);
    await refusedLater('SignatureDoesNotMatch', () => decode(change(wire), mode));
  });

  it('is refused when made for another request', async () => {
    const { keys } = signing(SIGNED);
    const { mode } = signing(`${SIGNED}-TRAILER`);
    await refusedLater('SignatureDoesNotMatch', () => decode(encodeSigned(keys, [Buffer.from('abc')]), mode));
  });
});

describe('framing', () => {
  it.each<[string, string, Parameters<typeof refusedLater>[0]]>([
    ['no hexadecimal size', 'zz\r\nabc\r\n0\r\n\r\n', 'InvalidChunkSizeError'],
    ['negative size', '-3\r\nabc\r\n0\r\n\r\n', 'InvalidChunkSizeError'],
    ['huge size', 'ffffffffffffffffffff\r\n', 'InvalidChunkSizeError'],
    ['empty size', '\r\nabc', 'InvalidChunkSizeError'],
    ['bare LF', '3\nabc\r\n0\r\n\r\n', 'InvalidChunkSizeError'],
    ['endless header', '3;x='.padEnd(5000, 'y'), 'InvalidChunkSizeError'],
    ['size too small', '2\r\nabc\r\n0\r\n\r\n', 'IncompleteBody'],
    ['size over the announced length', '4\r\nabcd\r\n0\r\n\r\n', 'IncompleteBody'],
    ['fewer bytes than announced', '2\r\nab\r\n0\r\n\r\n', 'IncompleteBody'],
    ['ends in data', '3\r\nab', 'IncompleteBody'],
    ['ends behind data', '3\r\nabc', 'IncompleteBody'],
    ['no last chunk', '3\r\nabc\r\n', 'IncompleteBody'],
    ['ends in a chunk header', '3\r\nabc\r\n0', 'IncompleteBody'],
    ['empty body', '', 'IncompleteBody'],
    ['bytes behind the end', '3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1', 'IncompleteBody'],
    ['unannounced trailer', '3\r\nabc\r\n0\r\nx-amz-meta-a:1\r\n\r\n', 'MalformedTrailerError'],
    ['trailer without colon', '3\r\nabc\r\n0\r\nabc\r\n\r\n', 'MalformedTrailerError'],
    ['endless trailer', `3\r\nabc\r\n0\r\na:${'b'.repeat(9000)}`, 'MalformedTrailerError'],
  ])('refuses: %s', async (_, wire, code) => {
    for (const sizes of [[], new Array<number>(wire.length).fill(1)]) {
      await refusedLater(code, () => decode(wire, unsigned, { decodedLength: 3 }, sizes));
    }
  });

  it('refuses an announced trailer that does not come, and one that comes twice', async () => {
    const options = { announcedTrailers: ['X-Amz-Checksum-Crc32c'] };
    await refusedLater('MalformedTrailerError', () => decode('0\r\n\r\n', unsigned, options));
    await refusedLater('MalformedTrailerError', () => decode(`0\r\n${CRC}:a\r\n${CRC}:b\r\n\r\n`, unsigned, options));
  });

  it('says a size lie at once, before the body has come', async () => {
    let asked = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('fffffff\r\n');
      for (;;) {
        asked++;
        yield B;
      }
    }
    const options = { decodedLength: 10, announcedTrailers: [], onTrailers: () => undefined };
    await refusedLater('IncompleteBody', async () => {
      for await (const piece of decodeBody(endless(), unsigned, options)) expect.unreachable(`${piece.length} bytes`);
    });
    expect(asked).toBe(0);
  });

  it('forgives upper-case sizes, chunk extensions and a missing last line end', async () => {
    const wire = `A;note=1\r\n0123456789\r\n0\r\n${CRC}: v \r\n`;
    const result = await decode(wire, unsigned, { decodedLength: 10, announcedTrailers: [CRC] });
    expect(result).toEqual({ body: Buffer.from('0123456789'), trailers: { [CRC]: 'v' } });
  });
});

describe('bodies that are not chunked', () => {
  const hex = createHash('sha256').update('hello').digest('hex');

  it('pass through, counted', async () => {
    expect((await decode('hello', { kind: 'unsigned' }, { contentLength: 5 }, [2])).body.toString()).toBe('hello');
    await refusedLater('IncompleteBody', () => decode('hell', { kind: 'unsigned' }, { contentLength: 5 }));
    await refusedLater('IncompleteBody', () => decode('hello!', { kind: 'unsigned' }, { contentLength: 5 }));
  });

  it('are checked against their SHA-256', async () => {
    expect((await decode('hello', { kind: 'sha256', hex }, {}, [1, 3])).body.toString()).toBe('hello');
    const error = await refusedLater('XAmzContentSHA256Mismatch', () => decode('hellO', { kind: 'sha256', hex }));
    expect(error.data.ClientComputedContentSHA256).toBe(hex);
    await refusedLater('XAmzContentSHA256Mismatch', () => decode('', { kind: 'sha256', hex }));
  });

  it('hand on what the source throws', async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield A;
      throw new Error('socket closed');
    }
    for (const mode of [{ kind: 'unsigned' }, { kind: 'sha256', hex }] satisfies PayloadMode[]) {
      const options = { announcedTrailers: [], onTrailers: () => undefined };
      const run = async (): Promise<void> => {
        for await (const piece of decodeBody(broken(), mode, options)) expect(piece).toBe(A);
      };
      await expect(run()).rejects.toThrow('socket closed');
    }
  });
});
