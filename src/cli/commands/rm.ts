import { flag } from '../../base/options.js';
import { DRY_RUN_OPTION, JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

export const rm = command({
  name: 'rm',
  summary: 'remove objects',
  arguments: [
    { name: 'BUCKET/KEY', help: 'the object, or with -r what lies below', variadic: true, complete: 'object' },
  ],
  options: {
    recursive: { ...flag('all that lies below a prefix'), short: 'r' },
    ...DRY_RUN_OPTION,
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'An object', line: 'gos3rve rm photos/2024/cat.jpg' },
    { what: 'A folder, after a look', line: 'gos3rve rm -r photos/2024/ --dry-run' },
  ],
  exits: { 1: 'one was not there or could not be removed; the others were' },
  async run(call) {
    const [{ openSession }, { remove }] = await Promise.all([import('../session.js'), import('../removal.js')]);
    const { recursive, dryRun, json } = call.options;
    const session = await openSession(call, { writes: !dryRun });
    const targets = call.args.map((written) => session.target(written));
    return remove(session.store, targets, { recursive, dryRun, json, out: call.out, signal: call.signal });
  },
});
