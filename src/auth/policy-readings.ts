/**
 * Names of condition keys are told without case, tags with it: `dept` and `Dept` are two tags, and one condition key of a single value. A request that
 * gives both says nothing certain, so it has as many readings as there are choices, and no doubt may grant anything: a Deny that holds in one
 * reading denies, an Allow must hold in all of them.
 * Source: IAM User Guide, "Global condition context keys" (a tag key without case matches one tag or the other, but not both).
 */
import type { Values } from './glob.js';

export type Conditions = Readonly<Record<string, readonly string[]>>;

/** More of them is no honest request: three spellings each of three tags are 27. */
const MOST = 64;

export class Readings {
  /** The first that was given of each name. */
  private readonly first = new Map<string, readonly string[]>();
  /** All that was given, of the names that were given more than once. */
  private readonly several = new Map<string, (readonly string[])[]>();

  constructor(conditions: Conditions) {
    for (const [name, values] of Object.entries(conditions)) {
      const key = name.toLowerCase();
      const first = this.first.get(key);
      const choices = this.several.get(key);
      if (first === undefined) this.first.set(key, values);
      else if (choices === undefined) this.several.set(key, [first, values]);
      else choices.push(values);
    }
  }

  /**
   * @param keys condition keys in lower case: what differs in others makes no reading of its own.
   * @returns undefined if there are too many.
   */
  of(keys: ReadonlySet<string>): readonly Values[] | undefined {
    if (this.several.size === 0) return [this.first];
    let readings: Values[] = [this.first];
    for (const [key, choices] of this.several) {
      if (!keys.has(key)) continue;
      if (readings.length * choices.length > MOST) return undefined;
      readings = readings.flatMap((reading) => choices.map((values) => new Map(reading).set(key, values)));
    }
    return readings;
  }
}
