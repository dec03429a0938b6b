/** XML in and out. An element is plain data: name, attributes, and either text or children in order. */
import type { S3Error } from '../base/errors.js';

export interface XmlElement {
  name: string;
  attributes?: Record<string, string>;
  /** Text, or children in order. */
  children: string | XmlElement[];
}
export interface RenderOptions {
  xmlns?: string | null;
  declaration?: boolean;
}
/** Makes an element; undefined and false children are dropped, numbers and booleans become text. */
export function el(
  name: string,
  children: string | number | boolean | readonly (XmlElement | undefined | false)[] = [],
  attributes?: Record<string, string>,
): XmlElement {
  const content =
    typeof children === 'object'
      ? children.filter((c): c is XmlElement => c !== undefined && c !== false)
      : String(children);
  return attributes === undefined ? { name, children: content } : { name, attributes, children: content };
}
export declare function renderXml(root: XmlElement, options?: RenderOptions): string;
export declare function parseXml(text: string, rootName: string | readonly string[]): XmlElement;
export declare function child(e: XmlElement, name: string): XmlElement | undefined;
export declare function childText(e: XmlElement, name: string): string | undefined;
export declare function childrenOf(e: XmlElement, name: string): XmlElement[];
export declare function errorXml(error: S3Error, ids: { resource: string; requestId: string; hostId: string }): string;
