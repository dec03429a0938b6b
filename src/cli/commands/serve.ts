import { OPTIONS } from '../../base/options.js';
import { command } from './command.js';

export const serve = command({
  name: 'serve',
  summary: 'serve a directory: top-level folders are buckets, the files in them objects',
  arguments: [{ name: 'dir', help: 'a directory that exists', complete: 'directory' }],
  options: OPTIONS,
  examples: [{ what: 'Serve a collection', line: 'gos3rve serve ~/media --port 9000' }],
  lives: true,
  async run({ args, flags }) {
    const { serve: start } = await import('../serve.js');
    await start(args[0] ?? '.', flags);
  },
});
