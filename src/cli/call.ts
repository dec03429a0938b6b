/** What a running command holds: its values, its root, the stores that it opened, and the signals that end it. */
import { UsageError } from '../base/errors.js';
import { flagsOf, type Option } from '../base/options.js';
import type { LocalStore, StoreOptions } from '../store/open.js';
import type { Call, Options, Values } from './commands/command.js';
import { Output, Stopped } from './output.js';
import type { Root } from './root.js';
import { onSignals } from './signals.js';

type Flags = Call['flags'];

export class RunningCall implements Call {
  readonly out: Output;
  readonly signal: AbortSignal;
  readonly #abort = new AbortController();
  readonly #declared: Options;
  readonly #stores: LocalStore[] = [];
  #values: Values<Options> | undefined;

  constructor(
    readonly args: readonly string[],
    readonly flags: Flags,
    declared: Options,
  ) {
    this.#declared = declared;
    this.out = new Output(this.#abort);
    this.signal = this.#abort.signal;
  }

  get options(): Values<Options> {
    this.#values ??= parseValues(this.#declared, this.flags);
    return this.#values;
  }

  async root(how: { named?: string | undefined; near?: readonly string[] | undefined } = {}): Promise<Root> {
    const { findRoot } = await import('./root.js');
    const { root, stateDir } = this.flags;
    return findRoot({
      ...how,
      flag: typeof root === 'string' ? root : undefined,
      stateDir: typeof stateDir === 'string' ? stateDir : undefined,
      env: process.env,
      cwd: process.cwd(),
    });
  }

  async store(root: Root, options: Partial<StoreOptions> = {}): Promise<LocalStore> {
    const [{ openStore }, { settingsOf, storeOptions }, { whyUnwritable }] = await Promise.all([
      import('../store/open.js'),
      import('./settings.js'),
      import('../fs/state-dir.js'),
    ]);
    const log: NonNullable<StoreOptions['log']> = (level, message) => {
      if (level !== 'info') this.out.warn(message);
    };
    const settings = await settingsOf(root, process.env);
    const readOnly = settings.readOnly || whyUnwritable(root.path) !== undefined;
    const store = await openStore(root.path, { ...(await storeOptions(root, settings, log)), readOnly, ...options });
    this.#stores.push(store);
    return store;
  }

  /** The first signal lets the command end in order, a second one ends it at once. */
  heedSignals(): void {
    onSignals(
      (_signal, code) => {
        if (this.signal.aborted) process.exit(code);
        this.#abort.abort(new Stopped(code));
      },
      (code) => process.exit(code),
    );
  }

  async close(): Promise<void> {
    for (const store of this.#stores.splice(0)) await store.close();
  }
}

/** @throws UsageError naming the flag and what would be right. */
function parseValues(declared: Options, flags: Flags): Values<Options> {
  const entries = Object.entries(declared).map(
    ([name, option]) => [name, parseOne(name, option, flags[name])] as const,
  );
  return Object.fromEntries(entries);
}

function parseOne(name: string, option: Option<unknown>, written: Flags[string] | undefined): unknown {
  if (written === undefined) return option.default;
  const values = (Array.isArray(written) ? written : [String(written)]).map((item) => {
    try {
      return option.parse(item);
    } catch (error) {
      const flag = flagsOf(name, option).replace(/^-\w, | <.*$/g, '');
      throw new UsageError(`${flag}: "${item}" ${error instanceof Error ? error.message : 'is wrong'}`);
    }
  });
  return option.repeat ? values.flat() : values[0];
}
