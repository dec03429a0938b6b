/** What `doctor` finds: each remark with its cure, and the first few of the things it speaks of. */

/** `ok`: looked at and fine. `note`: worth knowing. `warning`: works, but not as one would wish. `problem`: something does not work, or data are in danger. */
export type Level = 'ok' | 'note' | 'warning' | 'problem';

export interface Finding {
  /** Name of the check, for programs: `names-folded`. */
  check: string;
  level: Level;
  /** One line without a full stop; goes on after the number if there is a `count`. */
  message: string;
  /** What to do about it. */
  cure?: string;
  /** Paths below the root, keys … the first few. */
  examples?: string[];
  /** How many there are in all. */
  count?: number;
}

/** Called with each finding as soon as it is known. */
export type Report = (finding: Finding) => void;

const SHOWN = 5;

/** Gathers things of one kind: counts all, keeps the first few. */
export class Tally {
  count = 0;
  readonly examples: string[] = [];

  add(example: string): void {
    this.count++;
    if (this.examples.length < SHOWN) this.examples.push(example);
  }

  /**
   * Reports if there was anything.
   * @param about its message follows the number of things; `one` is the message where there is one only.
   */
  tell(report: Report, { one, ...about }: Omit<Finding, 'count' | 'examples'> & { one?: string }): void {
    if (this.count === 0) return;
    const message = this.count === 1 ? (one ?? about.message) : about.message;
    report({ ...about, message, count: this.count, examples: this.examples });
  }
}
