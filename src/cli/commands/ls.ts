import { flag } from '../../base/options.js';
import { JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

export const ls = command({
  name: 'ls',
  summary: 'list buckets and objects',
  arguments: [{ name: 'BUCKET/PREFIX', help: 'what the keys begin with', optional: true, complete: 'object' }],
  options: {
    recursive: { ...flag('all that begins with the prefix'), short: 'r' },
    bytes: { ...flag('print sizes in bytes'), short: 'b' },
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'What is in a folder', line: 'gos3rve ls photos/2024/' },
    { what: 'All of a bucket, for a program', line: 'gos3rve ls -r photos --json' },
  ],
  async run(call) {
    const [{ openSession }, { listBuckets, listObjects }] = await Promise.all([
      import('../session.js'),
      import('../listing.js'),
    ]);
    const session = await openSession(call);
    const target = session.place(call.args[0]);
    const { recursive, bytes, json } = call.options;
    if (target === undefined) return listBuckets(session.store, call.out, json);
    return listObjects(session.store, call.out, target, { recursive, bytes, json });
  },
});
