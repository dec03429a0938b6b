/** Puts an entry into a bounded map, which lets go of its oldest for it. */
export function remember<T>(map: Map<string, T>, name: string, value: T, limit: number): void {
  if (map.size >= limit && !map.has(name)) {
    const oldest = map.keys().next();
    if (oldest.done !== true) map.delete(oldest.value);
  }
  map.set(name, value);
}
