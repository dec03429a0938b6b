/** What may be there after a power cut: clients (power-child.js) print each change before it is asked for, and when it was acknowledged. */

type Leaves = [key: string, state: string | null][];
/** What power-child.js finds after the cut. */
export interface Seen {
  objects: { key: string; state: string; whole: boolean; own: boolean }[];
  staging: string[];
}

/** What may be at each key: what was acknowledged last, or what was begun since. */
export class Allowed {
  private readonly keys = new Map<string, Set<string | null>>();
  acknowledged = 0;

  read(line: string): void {
    const said = JSON.parse(line) as { begin?: Leaves; done?: Leaves };
    for (const [key, state] of said.begin ?? []) this.of(key).add(state);
    for (const [key, state] of said.done ?? []) this.keys.set(key, new Set([state]));
    if (said.done) this.acknowledged++;
  }
  /** @returns what is wrong; and takes over what is there. */
  check({ objects }: Seen): string[] {
    const there = new Map(objects.map((object) => [object.key, object]));
    const wrong: string[] = [];
    for (const [key, allowed] of this.keys) {
      const state = there.get(key)?.state ?? null;
      if (!allowed.has(state)) wrong.push(`${key} is ${state}, not ${[...allowed].join(' or ')}`);
      this.keys.set(key, new Set([state]));
    }
    for (const object of objects) {
      if (!object.whole || !object.own) wrong.push(JSON.stringify(object));
      if (!this.keys.has(object.key)) wrong.push(`nobody put ${object.key}`);
    }
    return wrong;
  }
  private of(key: string): Set<string | null> {
    const allowed = this.keys.get(key) ?? new Set([null]);
    this.keys.set(key, allowed);
    return allowed;
  }
}
