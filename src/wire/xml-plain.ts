/**
 * A quick reader of the documents that clients make for long lists (DeleteObjects, CompleteMultipartUpload): elements and text, and nothing else - no
 * references, comments, CDATA, prefixes, attributes, but the namespace of the root. All else is left to the library, which takes five times as long.
 */
export interface PlainElement {
  name: string;
  /** Text, or children in order. */
  children: string | PlainElement[];
}

const HEAD = /^(?:<\?xml version="1\.0"(?: encoding="(?:UTF|utf)-8")?\?>)?[\t\n ]*/;
/** Of these, and only these, the library makes the same. */
const TAG = /<(\/?)([A-Z][A-Za-z0-9]{0,63})( xmlns="[\w:/.-]{0,200}")?>([^<>]*)/y;
const OTHER = /[&\u0000-\u0008\u000b-\u001f\ufffe\uffff]/;
const BLANK = /^[\t\n ]*$/;

/** @returns undefined for what is no such document, well-formed or not, or goes beyond the limits. */
export function readPlain(source: string, limits: { depth: number; elements: number }): PlainElement | undefined {
  if (OTHER.test(source)) return undefined;
  const open: PlainElement[] = [];
  let root: PlainElement | undefined;
  let elements = 0;
  TAG.lastIndex = HEAD.exec(source)?.[0].length ?? 0;
  while (TAG.lastIndex < source.length) {
    const found = TAG.exec(source);
    if (!found) return undefined;
    const [, slash, name = '', xmlns, text = ''] = found;
    const above = open.at(-1);
    if (slash === '') {
      if (++elements > limits.elements || open.length === limits.depth) return undefined;
      const element: PlainElement = { name, children: text };
      if (above === undefined ? root !== undefined : xmlns !== undefined || !adopt(above, element)) return undefined;
      root ??= element;
      open.push(element);
    } else {
      if (above?.name !== name || xmlns !== undefined || !BLANK.test(text)) return undefined;
      open.pop();
    }
  }
  return open.length === 0 ? root : undefined;
}

/** @returns false if there is text beside elements. */
function adopt(above: PlainElement, element: PlainElement): boolean {
  if (typeof above.children !== 'string') above.children.push(element);
  else if (BLANK.test(above.children)) above.children = [element];
  else return false;
  return true;
}
