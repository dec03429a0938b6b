/** The Range header (RFC 9110 section 14) and x-amz-copy-source-range. */
import { S3Error } from '../base/errors.js';

/** Bytes `start` to `end`, `end` exclusive. */
export interface ByteRange {
  start: number;
  end: number;
}

/**
 * The range of a GET or HEAD of an object of `size` bytes, cut to its end. Undefined, which means the whole object with status 200,
 * if the header is absent, malformed, in another unit, or names several ranges (S3 serves only one).
 * @throws InvalidRange if no byte of it exists; always so for an empty object.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | undefined {
  if (header === undefined) return undefined;
  const match = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header);
  if (match === null) return undefined;
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return undefined;
    const suffix = Number(last);
    if (suffix === 0 || size === 0) throw unsatisfiable(header, size);
    return { start: Math.max(0, size - suffix), end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Number(last) + 1;
  // Section 14.1.1: a range whose last position is less than its first is invalid, and the header is ignored.
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) throw unsatisfiable(header, size);
  return { start, end: Math.min(end, size) };
}

function unsatisfiable(header: string, size: number): S3Error {
  return new S3Error('InvalidRange', undefined, {
    headers: { 'Content-Range': `bytes */${size}` },
    data: { RangeRequested: header.trim(), ActualObjectSize: size },
  });
}

const COPY_FORM =
  'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy';

/**
 * The range of UploadPartCopy: strictly `bytes=first-last`, wholly inside the source of `size` bytes.
 * @throws InvalidArgument (other form), InvalidRange (beyond the source).
 */
export function parseCopyRange(header: string, size: number): ByteRange {
  const match = /^bytes=(\d+)-(\d+)$/.exec(header.trim());
  const start = Number(match?.[1]);
  const last = Number(match?.[2]);
  if (match === null || last < start) {
    const data = { ArgumentName: 'x-amz-copy-source-range', ArgumentValue: header };
    throw new S3Error('InvalidArgument', COPY_FORM, { data });
  }
  if (last >= size) {
    throw new S3Error('InvalidRange', `Range specified is not valid for source object of size: ${size}`, {
      data: { RangeRequested: header.trim(), ActualObjectSize: size },
    });
  }
  return { start, end: last + 1 };
}
