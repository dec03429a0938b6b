export declare function decodeKey(raw: string): string;
export declare function encodeKey(key: string, keepSlash?: boolean): string;
export declare function urlEncodeListing(s: string): string;
export declare function checkKey(key: string): void;
export declare function parseCopySource(header: string): { bucket: string; key: string; versionId?: string };
