import { flag } from '../../base/options.js';
import { DRY_RUN_OPTION, JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

export const mv = command({
  name: 'mv',
  summary: 'rename an object, or all objects below a prefix',
  arguments: [
    { name: 'SOURCE', help: 'an object; a bucket or a prefix that ends in / for all below it', complete: 'object' },
    { name: 'TARGET', help: 'its new name, or the prefix or bucket that it moves into', complete: 'object' },
  ],
  options: {
    force: flag('replace what is there already, and merge prefixes'),
    prefix: flag('SOURCE and TARGET are the beginnings of keys, wherever they end'),
    ...DRY_RUN_OPTION,
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'An object', line: 'gos3rve mv photos/a.jpg archive/b.jpg' },
    { what: 'A folder, into another bucket', line: 'gos3rve mv photos/2023/ archive/2023/' },
  ],
  exits: { 1: 'nothing was moved, or not all; the message tells' },
  async run(call) {
    const { move } = await import('../moving.js');
    return move(call, call.options);
  },
});
