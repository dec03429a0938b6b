/**
 * A turn: the requests that the event loop took off the network at one look. Each of them was sent before that look, so what one of them sees of the
 * world is recent enough for all of them, and is asked once: whether the root and the index are there, what is said of a bucket. Never whether
 * a file is still the same.
 *
 * A turn begins with a request and ends before the network is looked at again. Without one - a store that is used without a server - each asks
 * for itself.
 */

/** 0: none. */
let current = 0;
let last = 0;

/** A request has arrived. To be called right where the network is read. */
export function beginTurn(): void {
  if (current !== 0) return;
  current = ++last;
  setImmediate(endTurn);
}

/** What was seen is no longer so: this process has changed it. */
export function forgetSeen(): void {
  if (current !== 0) current = ++last;
}

function endTurn(): void {
  current = 0;
}

/** What was seen in this turn, by name. */
export class Seen<T> {
  private at = 0;
  private readonly values = new Map<string, T>();

  /** @param look says what there is; what it throws is not remembered. */
  get(name: string, look: () => T): T {
    if (current === 0) return look();
    if (this.at !== current) {
      this.values.clear();
      this.at = current;
    }
    const seen = this.values.get(name);
    if (seen !== undefined) return seen;
    const value = look();
    // what looking has changed is not what was seen
    if (this.at === current) this.values.set(name, value);
    return value;
  }
}
