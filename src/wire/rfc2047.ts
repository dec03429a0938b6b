/**
 * Header values and Unicode. Node gives header values as latin1, one character a byte; clients send UTF-8 bytes or RFC 2047 encoded
 * words. S3 stores user metadata decoded, and returns it as it is if it is ASCII, as encoded words otherwise.
 */

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A latin1 string from the wire as Unicode: UTF-8 if its bytes are, latin1 otherwise. */
export function fromWire(value: string): string {
  if (!/[\u0080-\u00ff]/.test(value) || /[^\u0000-\u00ff]/.test(value)) return value;
  try {
    return UTF8.decode(Buffer.from(value, 'latin1'));
  } catch {
    return value;
  }
}

/** Unicode as a header value that Node can send: UTF-8 bytes in latin1; control characters (they would end the line) become spaces. */
export function toWire(value: string): string {
  const safe = /[\u0000-\u001f\u007f]/.test(value) ? value.replace(/[\u0000-\u001f\u007f]/g, ' ') : value;
  return /[^\u0000-\u007f]/.test(safe) ? Buffer.from(safe, 'utf8').toString('latin1') : safe;
}

const WORD = '=\\?([A-Za-z0-9_-]{1,40})(?:\\*[A-Za-z0-9-]*)?\\?([BbQq])\\?([^?\\s]*)\\?=';
const RUN = new RegExp(`${WORD}(?:[ \\t]+${WORD})*`, 'g');
const SINGLE = new RegExp(WORD, 'g');

/**
 * Decodes the encoded words in a header value (RFC 2047 section 2); white space between two of them is dropped (section 6.2).
 * Words in one charset that follow each other are joined before decoding, since clients cut characters in two. A word that cannot
 * be decoded stays as it is.
 */
export function decodeWords(value: string): string {
  if (!value.includes('=?')) return value;
  return value.replace(RUN, (run) => {
    const groups: { charset: string; bytes: Buffer[] }[] = [];
    for (const [, charset = '', encoding = '', text = ''] of run.matchAll(SINGLE)) {
      const bytes = /b/i.test(encoding) ? Buffer.from(text, 'base64') : fromQ(text);
      const last = groups.at(-1);
      if (last?.charset === charset.toLowerCase()) last.bytes.push(bytes);
      else groups.push({ charset: charset.toLowerCase(), bytes: [bytes] });
    }
    try {
      return groups.map((g) => decode(g.charset, Buffer.concat(g.bytes))).join('');
    } catch {
      return run;
    }
  });
}

function decode(charset: string, bytes: Buffer): string {
  return new TextDecoder(charset, { fatal: true, ignoreBOM: true }).decode(bytes);
}

/** The Q encoding (RFC 2047 section 4.2): `_` is a space, `=XX` a byte. */
function fromQ(text: string): Buffer {
  const latin1 = text
    .replace(/_/g, ' ')
    .replace(/=([0-9A-Fa-f]{2})/g, (_all, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(latin1, 'latin1');
}

/** 75 characters a word less `=?UTF-8?B?` and `?=` leave 63, which is 45 bytes in base64. */
const WORD_BYTES = 45;

/**
 * The value as it is if that is safe in a header, else as encoded words in UTF-8 and base64, none longer than 75 characters and none
 * ending inside a character (RFC 2047 sections 2 and 5). `decodeWords(encodeWords(s))` is `s` for every well-formed `s`.
 */
export function encodeWords(value: string): string {
  if (/^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(value) && !value.includes('=?')) return value;
  const words: string[] = [];
  let part = '';
  let bytes = 0;
  for (const char of value) {
    const size = Buffer.byteLength(char);
    if (bytes + size > WORD_BYTES) {
      words.push(part);
      part = '';
      bytes = 0;
    }
    part += char;
    bytes += size;
  }
  words.push(part);
  return words.map((w) => `=?UTF-8?B?${Buffer.from(w, 'utf8').toString('base64')}?=`).join(' ');
}
