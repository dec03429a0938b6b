import type { Tags } from '../base/model.js';
import type { XmlElement } from './xml.js';
export declare function tagsXml(tags: Tags): XmlElement;
export declare function parseTagsXml(text: string): Tags;
