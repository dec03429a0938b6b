/**
 * multipart/form-data (RFC 7578), read as it comes: the fields whole and bounded, then the file as a stream. It pulls: no byte is taken from
 * the socket before somebody asks for it, so a slow disk slows the browser and memory stays at a chunk. What follows the file is not read (S3:
 * the file is the last field).
 */
import { S3Error } from '../base/errors.js';

export interface Form {
  /** Names in lower case. */
  fields: ReadonlyMap<string, string>;
  /** The file's own name as the client gave it, without folders; '' if it has none. */
  filename: string;
  /** Its bytes, once. @throws MalformedPOSTRequest when the form ends before the file does. */
  chunks: AsyncIterable<Uint8Array>;
}

/** S3: 20 KB for all but the file. Some room for what browsers add. */
const MAX_FIELDS = 64 * 1024;
const MAX_COUNT = 200;
const MAX_HEAD = 8 * 1024;

/**
 * Reads up to the file.
 * @throws PreconditionFailed for another content type, MalformedPOSTRequest, MaxMessageLengthExceeded, InvalidArgument (a field twice, no file).
 */
export async function readForm(body: AsyncIterable<Uint8Array>, contentType: string | undefined): Promise<Form> {
  const reader = new Reader(body, boundaryOf(contentType));
  const fields = new Map<string, string>();
  let room = MAX_FIELDS;
  // What stands before the first boundary counts for nothing (RFC 2046 section 5.1.1).
  await reader.upToBoundary(MAX_HEAD);
  while (await reader.nextPart()) {
    const head = await reader.head(MAX_HEAD);
    const { name, filename } = disposition(head);
    if (name === 'file') return { fields, filename: basename(filename), chunks: reader.rest() };
    const value = await reader.upToBoundary(room);
    room -= value.length + name.length;
    if (room < 0 || fields.size >= MAX_COUNT) throw tooLong();
    if (fields.has(name)) throw invalid(name, `The field ${name} is given twice.`);
    fields.set(name, text(value));
  }
  throw invalid('file', 'POST requires exactly one file upload per request.');
}

class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #delimiter: Buffer;
  // As if a line ended before the body: so the first boundary looks like all others.
  #pending = Buffer.from('\r\n');

  constructor(body: AsyncIterable<Uint8Array>, boundary: string) {
    this.#source = body[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  /** Bytes before the next boundary, which is consumed. */
  upToBoundary(max: number): Promise<Buffer> {
    return this.#upTo(this.#delimiter, max);
  }

  /** After a boundary: false if it was the last one. */
  async nextPart(): Promise<boolean> {
    const line = await this.#upTo(CRLF, MAX_HEAD, true);
    if (line.length >= 2 && line.subarray(0, 2).toString('latin1') === '--') return false;
    // RFC 2046 section 5.1.1: white space may follow a boundary.
    if (!/^[ \t]*$/.test(line.toString('latin1'))) throw malformed();
    return true;
  }

  /** Header lines of a part. */
  async head(max: number): Promise<string> {
    return text(await this.#upTo(BLANK_LINE, max));
  }

  /** Bytes up to the next boundary, as they come. */
  async *rest(): AsyncGenerator<Uint8Array, void, undefined> {
    for (;;) {
      const at = this.#pending.indexOf(this.#delimiter);
      if (at >= 0) {
        if (at > 0) yield this.#pending.subarray(0, at);
        return;
      }
      // All but what may be the beginning of the boundary.
      const safe = this.#pending.length - this.#delimiter.length + 1;
      if (safe > 0) {
        const chunk = this.#pending.subarray(0, safe);
        this.#pending = this.#pending.subarray(safe);
        yield chunk;
      }
      if (!(await this.#more())) throw malformed();
    }
  }

  async #upTo(mark: Buffer, max: number, orEnd = false): Promise<Buffer> {
    for (let from = 0; ;) {
      const at = this.#pending.indexOf(mark, from);
      if (at >= 0 && at <= max) {
        const found = this.#pending.subarray(0, at);
        this.#pending = this.#pending.subarray(at + mark.length);
        return found;
      }
      if (this.#pending.length > max + mark.length) throw tooLong();
      from = Math.max(0, this.#pending.length - mark.length + 1);
      if (await this.#more()) continue;
      // The last boundary may be the end of the body.
      if (orEnd) return this.#pending;
      throw malformed();
    }
  }

  async #more(): Promise<boolean> {
    const next = await this.#source.next();
    if (next.done === true) return false;
    this.#pending = Buffer.concat([this.#pending, next.value]);
    return true;
  }
}

const CRLF = Buffer.from('\r\n');
const BLANK_LINE = Buffer.from('\r\n\r\n');

/** RFC 2046 section 5.1.1: 1 to 70 characters, quoted or not. */
function boundaryOf(contentType = ''): string {
  const [, quoted, bare] =
    /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]+)"|([^\s";]+))/i.exec(contentType) ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined || boundary.length > 70)
    throw new S3Error('PreconditionFailed', undefined, {
      data: { Condition: 'Bucket POST must be of the enclosure-type multipart/form-data' },
    });
  return boundary;
}

function disposition(head: string): { name: string; filename: string } {
  const line = head.split('\r\n').find((header) => /^content-disposition\s*:/i.test(header)) ?? '';
  const name = parameter(line, 'name');
  if (name === undefined || !/:\s*form-data\b/i.test(line)) throw malformed();
  return { name: name.toLowerCase(), filename: parameter(line, 'filename') ?? '' };
}

/** Browsers escape quotes and line ends as %22, %0D, %0A (HTML Standard, "multipart/form-data"), older programs a quote as `\"`. */
function parameter(line: string, name: string): string | undefined {
  const [, quoted, bare] = new RegExp(`;\\s*${name}=(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s;"]+))`, 'i').exec(line) ?? [];
  return (quoted?.replace(/\\(["\\])/g, '$1') ?? bare)?.replace(/%(22|0D|0A)/gi, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  );
}

function basename(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
}

function text(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed();
  }
}

function malformed(): S3Error {
  return new S3Error('MalformedPOSTRequest');
}

function tooLong(): S3Error {
  return new S3Error('MaxMessageLengthExceeded', 'Your POST request fields preceding the upload file were too large.', {
    data: { MaxMessageLengthBytes: MAX_FIELDS },
  });
}

function invalid(name: string, message: string): S3Error {
  return new S3Error('InvalidArgument', message, { data: { ArgumentName: name } });
}
