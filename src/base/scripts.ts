/** Compiled scripts that run as a thread or a process of their own. */

/** @param path below `dist`. It leads there from a layer's folder and from `dist/bundle` alike: both lie as deep. */
export function scriptOf(path: string): URL {
  return new URL(`../${path}`, import.meta.url);
}
