export declare const FOLDERS: string[];
export declare const FILES: string[];
export declare const SIDES: string[];
export declare const FIXED: string[];
export declare function contentOf(version: string): Buffer;
export declare function versionOf(bytes: Buffer): string | undefined;
