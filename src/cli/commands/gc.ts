import { flag, one } from '../../base/options.js';
import { age } from '../../base/values.js';
import { DRY_RUN_OPTION, JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

const DAY_MS = 86_400_000;

export const gc = command({
  name: 'gc',
  summary: 'take away what is left over',
  arguments: [{ name: 'dir', help: 'the directory that is served', optional: true, complete: 'directory' }],
  options: {
    olderThan: one({
      value: 'time',
      parse: age,
      default: 7 * DAY_MS,
      shown: '7d',
      help: 'end multipart uploads that nobody has touched for so long',
    }),
    keepGone: one({
      value: 'time',
      parse: age,
      default: 30 * DAY_MS,
      shown: '30d',
      help: 'keep what is known of a file for so long after it is gone',
    }),
    quiet: flag('print nothing'),
    ...DRY_RUN_OPTION,
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'Each night, in a crontab', line: 'gos3rve gc --quiet' },
    { what: 'What would go', line: 'gos3rve gc --dry-run' },
  ],
  async run(call) {
    const { out, options, signal, args } = call;
    const root = await call.root({ named: args[0] });
    const { dryRun, olderThan, keepGone } = options;
    const [{ gc: run }, { resultLine }, { checkWritable }, { settingsOf }] = await Promise.all([
      import('../../jobs/gc.js'),
      import('../gc-report.js'),
      import('../session.js'),
      import('../settings.js'),
    ]);
    checkWritable(root, await settingsOf(root, process.env));
    const store = await call.store(root);
    const report = await run(store.collector, { dryRun, signal, olderThan, keepGone });
    if (options.quiet) return;
    await (options.json ? out.json(report) : out.line(resultLine(report, dryRun)));
  },
});
