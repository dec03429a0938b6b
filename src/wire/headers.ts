import type { KeyFacts, Tags } from '../base/model.js';
export type Headers = Readonly<Record<string, string | undefined>>;
export declare function readFacts(h: Headers): KeyFacts;
export declare function factsHeaders(facts: KeyFacts): Record<string, string>;
export declare function parseTagging(header: string): Tags;
export declare function validateTags(tags: Tags, max?: number): void;
export declare function httpDate(ms: number): string;
export declare function isoDate(ms: number): string;
export declare function parseHttpDate(s: string): number | undefined;
