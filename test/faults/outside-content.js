/** Names and bytes of the out-of-band test, for the program that changes files and for the one that judges answers. */
export const FOLDERS = ['d0', 'd1', 'd2', 'd3'];
export const FILES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
export const SIDES = ['side', 'sidf'];
/** Versions that never change; each is the name of a file, too. */
export const FIXED = ['v0-1s64', 'v0-2s1000', 'v0-3s5000'];

/** Bytes that tell their version in every line: `v<writer>-<number>s<size>`. */
export function contentOf(version) {
  const size = Number(version.slice(version.indexOf('s') + 1));
  return Buffer.from(`${version};\n`.repeat(Math.ceil(size / (version.length + 2))).slice(0, size));
}

/** The version that bytes begin with, or undefined. */
export function versionOf(bytes) {
  return /^(v\d+-\d+s\d+);/.exec(bytes.toString('latin1', 0, 40))?.[1];
}
