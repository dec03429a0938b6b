import { maybe } from '../../base/options.js';
import { JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

export const watch = command({
  name: 'watch',
  summary: 'print changes of objects as they happen, whoever makes them',
  arguments: [{ name: 'BUCKET[/PREFIX]', help: 'only of these objects', optional: true, complete: 'object' }],
  options: {
    since: maybe({ value: 'number', parse: sequence, help: 'begin behind this change, as far as the journal reaches' }),
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'Everything, for people', line: 'gos3rve watch' },
    {
      what: 'Names of new pictures, for a program',
      line: "gos3rve watch photos/2024/ --json | jq -r '.s3.object.key'",
    },
  ],
  async run(call) {
    const { watch: run } = await import('../watching.js');
    await run(call, call.options);
  },
});

function sequence(written: string): number {
  if (/^\d{1,15}$/.test(written)) return Number(written);
  if (/^[0-9A-F]{18}$/.test(written)) return Number.parseInt(written, 16);
  throw new Error('is no number of a change, such as 1200 or a sequencer');
}
