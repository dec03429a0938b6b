/**
 * From the body on the wire to the object's bytes, with the check that its signature promises.
 * Sources: Amazon S3 API Reference, "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks"
 * and "… Including Trailing Headers".
 */
import { createHash, type Hash } from 'node:crypto';
import { S3Error } from '../base/errors.js';
import { chunkSignature, EMPTY_SHA256, signatureEquals, trailerSignature } from './signature.js';
import { parseTrailers } from './trailers.js';
import type { ChunkSigning, PayloadMode } from './types.js';

export interface DecodeOptions {
  /** x-amz-decoded-content-length, bytes. */
  decodedLength?: number;
  /** Content-Length, bytes; checked where the body is not chunked. */
  contentLength?: number;
  /** Names of the x-amz-trailer header; others are refused. */
  announcedTrailers: readonly string[];
  /** Called once with the verified trailers (names in lower case), before the last bytes are known to be the last. */
  onTrailers: (trailers: Record<string, string>) => void;
}

/**
 * Yields the decoded bytes as they come. The end of a chunk, and of the body, is passed on only when its signature or digest proved right;
 * a wrong one makes the iterable throw, and the write that consumes it must then publish nothing.
 * Memory: one chunk header or trailer (at most 8 KiB) beside the piece in hand.
 * @throws IncompleteBody, InvalidChunkSizeError, MalformedTrailerError, SignatureDoesNotMatch, XAmzContentSHA256Mismatch.
 */
export function decodeBody(
  source: AsyncIterable<Uint8Array>,
  payload: PayloadMode,
  options: DecodeOptions,
): AsyncIterable<Uint8Array> {
  switch (payload.kind) {
    case 'unsigned':
      return countBytes(source, options.contentLength);
    case 'sha256':
      return checkDigest(countBytes(source, options.contentLength), payload.hex);
    case 'chunked':
      return decodeChunks(source, new ChunkDecoder(payload.trailer, payload.signing, options));
  }
}

async function* countBytes(
  source: AsyncIterable<Uint8Array>,
  expected: number | undefined,
): AsyncGenerator<Uint8Array> {
  let size = 0;
  for await (const piece of source) {
    size += piece.length;
    if (expected !== undefined && size > expected) throw incomplete(`more than the announced ${expected} bytes came`);
    yield piece;
  }
  if (expected !== undefined && size < expected) throw incomplete(`${size} of ${expected} announced bytes came`);
}

async function* checkDigest(source: AsyncIterable<Uint8Array>, hex: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const piece of source) {
    hash.update(piece);
    yield piece;
  }
  const computed = hash.digest('hex');
  if (computed === hex) return;
  throw new S3Error('XAmzContentSHA256Mismatch', undefined, {
    data: { ClientComputedContentSHA256: hex, S3ComputedContentSHA256: computed },
  });
}

async function* decodeChunks(source: AsyncIterable<Uint8Array>, decoder: ChunkDecoder): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    for (const data of decoder.push(piece)) yield data;
  }
  decoder.end();
}

const LF = 0x0a;
const CR = 0x0d;
/** Longest chunk header: size, `;chunk-signature=` and 64 digits need 98 bytes. */
const MAX_LINE = 1024;
const MAX_TRAILER = 8 * 1024;

/** Where the decoder stands: in a chunk header, in data, at the line end behind data, behind the last chunk, at the end. */
type State = 'header' | 'data' | 'data-end' | 'trailer' | 'done';

/** Takes the wire in pieces of any size. Chunks of any size are accepted, as MinIO and Ceph do; AWS wants 8 KiB at least. */
class ChunkDecoder {
  #state: State = 'header';
  /** Bytes of an unfinished line, or of the trailer. */
  #held = '';
  /** Bytes of the current chunk still to come. */
  #remaining = 0;
  #decoded = 0;
  #hash: Hash | undefined;
  #claimed = '';
  #previous: string;

  constructor(
    readonly hasTrailer: boolean,
    readonly signing: ChunkSigning | undefined,
    readonly options: DecodeOptions,
  ) {
    this.#previous = signing?.seed ?? '';
  }

  /** Takes a piece of the wire and yields the data in it. */
  *push(piece: Uint8Array): Generator<Uint8Array, void> {
    let at = 0;
    while (at < piece.length) {
      switch (this.#state) {
        case 'header':
          at = this.#readHeader(piece, at);
          break;
        case 'data': {
          const data = piece.subarray(at, at + this.#remaining);
          at += data.length;
          this.#takeData(data);
          yield data;
          break;
        }
        case 'data-end':
          at = this.#readDataEnd(piece, at);
          break;
        case 'trailer':
          at = this.#readTrailer(piece, at);
          break;
        case 'done':
          throw incomplete('bytes came after the last chunk');
      }
    }
  }

  /** The wire has ended. */
  end(): void {
    // Some clients leave out the very last line end; all the data is there and checked.
    if (this.#state === 'trailer' && (this.#held === '' || this.#held.endsWith('\n'))) this.#finish();
    if (this.#state !== 'done') throw incomplete('the body ended inside a chunk');
  }

  #readHeader(piece: Uint8Array, at: number): number {
    const end = piece.indexOf(LF, at);
    const stop = end < 0 ? piece.length : end;
    if (this.#held.length + stop - at > MAX_LINE) throw invalidChunk('a chunk header is longer than 1 KiB');
    this.#held += latin1(piece, at, stop);
    if (end < 0) return stop;
    const line = this.#held;
    this.#held = '';
    if (!line.endsWith('\r')) throw invalidChunk('a chunk header does not end in CRLF');
    this.#startChunk(line.slice(0, -1));
    return end + 1;
  }

  #startChunk(line: string): void {
    const match = /^([0-9A-Fa-f]{1,13})(?:;(.*))?$/.exec(line);
    if (match === null) throw invalidChunk('a chunk header has no valid size');
    const size = parseInt(match[1] ?? '', 16);
    const { decodedLength } = this.options;
    if (decodedLength !== undefined && this.#decoded + size > decodedLength) {
      throw incomplete(`the chunks hold more than the ${decodedLength} bytes of x-amz-decoded-content-length`);
    }
    if (this.signing !== undefined) {
      this.#claimed = /(?:^|;)chunk-signature=([0-9a-f]{64})(?:;|$)/.exec(match[2] ?? '')?.[1] ?? '';
      if (this.#claimed === '') throw badSignature('a chunk has no valid chunk-signature');
    }
    this.#remaining = size;
    if (size > 0) {
      if (this.signing !== undefined) this.#hash = createHash('sha256');
      this.#state = 'data';
      return;
    }
    this.#verifyChunk(EMPTY_SHA256);
    this.#state = 'trailer';
  }

  /** Counts and hashes; the piece that completes a chunk is passed on only if the chunk's signature is right. */
  #takeData(data: Uint8Array): void {
    this.#hash?.update(data);
    this.#decoded += data.length;
    this.#remaining -= data.length;
    if (this.#remaining > 0) return;
    if (this.#hash !== undefined) this.#verifyChunk(this.#hash.digest('hex'));
    this.#state = 'data-end';
  }

  #verifyChunk(sha256: string): void {
    if (this.signing === undefined) return;
    if (!signatureEquals(chunkSignature(this.signing, this.#previous, sha256), this.#claimed)) {
      throw badSignature('the signature of a chunk does not match its data');
    }
    this.#previous = this.#claimed;
  }

  #readDataEnd(piece: Uint8Array, at: number): number {
    const expected = this.#held === '' ? CR : LF;
    if (piece[at] !== expected) throw incomplete('a chunk is not followed by CRLF where its size says so');
    this.#held = expected === CR ? '\r' : '';
    if (expected === LF) this.#state = 'header';
    return at + 1;
  }

  /** Behind the last chunk: header lines up to an empty one. Bounded, so it is kept whole and parsed at its end. */
  #readTrailer(piece: Uint8Array, at: number): number {
    const end = piece.indexOf(LF, at);
    const stop = end < 0 ? piece.length : end + 1;
    if (this.#held.length + stop - at > MAX_TRAILER)
      throw new S3Error('MalformedTrailerError', 'The trailer exceeds 8 KiB.');
    const lineStart = this.#held.lastIndexOf('\n') + 1;
    this.#held += latin1(piece, at, stop);
    if (end >= 0 && /^\r?\n$/.test(this.#held.slice(lineStart)) && this.#mayEnd()) this.#finish();
    return stop;
  }

  /** AWS's own example has an empty line before x-amz-trailer-signature, so an empty line ends a signed trailer only behind it. */
  #mayEnd(): boolean {
    return !this.hasTrailer || this.signing === undefined || /^x-amz-trailer-signature:/im.test(this.#held);
  }

  #finish(): void {
    const { decodedLength, announcedTrailers, onTrailers } = this.options;
    if (decodedLength !== undefined && this.#decoded !== decodedLength) {
      throw incomplete(`${this.#decoded} of the ${decodedLength} bytes of x-amz-decoded-content-length came`);
    }
    this.#state = 'done';
    const { trailers, canonical, signature } = parseTrailers(this.#held, this.hasTrailer ? announcedTrailers : []);
    if (!this.hasTrailer) return;
    if (this.signing !== undefined) {
      if (!signatureEquals(trailerSignature(this.signing, this.#previous, canonical), signature)) {
        throw badSignature('the signature of the trailer does not match');
      }
    }
    onTrailers(trailers);
  }
}

function latin1(piece: Uint8Array, start: number, end: number): string {
  return Buffer.from(piece.buffer, piece.byteOffset + start, end - start).toString('latin1');
}

function incomplete(why: string): S3Error {
  return new S3Error('IncompleteBody', `The request body is not what was announced: ${why}.`);
}

function invalidChunk(why: string): S3Error {
  return new S3Error('InvalidChunkSizeError', `The aws-chunked body is malformed: ${why}.`);
}

function badSignature(why: string): S3Error {
  return new S3Error(
    'SignatureDoesNotMatch',
    `The request signature that the server calculated does not match the signature that you provided: ${why}.`,
  );
}
