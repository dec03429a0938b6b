export interface ByteRange {
  start: number;
  end: number;
}
export declare function parseRange(header: string | undefined, size: number): ByteRange | undefined;
export declare function parseCopyRange(header: string, size: number): ByteRange;
