import { flag, maybe } from '../../base/options.js';
import { text } from '../../base/values.js';
import { DRY_RUN_OPTION, JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

export const cp = command({
  name: 'cp',
  summary: 'copy files into the store, out of it, and within it',
  arguments: [
    { name: 'SOURCE', help: 'an object, a file (./cat.jpg), or - for standard input', complete: 'object-or-file' },
    { name: 'TARGET', help: 'an object, a file, or - for standard output', complete: 'object-or-file' },
  ],
  options: {
    recursive: { ...flag('all that lies below a folder or prefix'), short: 'r' },
    clobber: { ...flag('leave alone what is there already', true), short: 'n' },
    contentType: maybe({
      value: 'type',
      parse: text,
      help: 'of what is put, instead of the one that its name suggests',
    }),
    ...DRY_RUN_OPTION,
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'In', line: 'gos3rve cp ./cat.jpg photos/2024/' },
    { what: 'Out', line: 'gos3rve cp -r photos/2024/ ./2024' },
    { what: 'From a program', line: 'tar c docs | gos3rve cp - backup/docs.tar' },
  ],
  exits: { 1: 'something was not copied' },
  async run(call) {
    const { copy } = await import('../copying.js');
    return copy(call, call.options);
  },
});
