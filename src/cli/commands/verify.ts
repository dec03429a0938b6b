import { maybe } from '../../base/options.js';
import { age, duration, size } from '../../base/values.js';
import { JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

/** Something is damaged. */
const DAMAGE = 2;

export const verify = command({
  name: 'verify',
  summary: 'read the objects and compare them with what is recorded',
  arguments: [{ name: 'BUCKET[/PREFIX]', help: 'only these objects', optional: true, complete: 'object' }],
  options: {
    since: maybe({ value: 'time', parse: age, help: 'only what was not found whole for so long: 30d' }),
    budget: maybe({ value: 'time', parse: duration, help: 'end after so long; the next run goes on: 10m' }),
    rate: maybe({ value: 'size', parse: rate, help: 'read so many bytes a second at most: 100MB' }),
    ...JSON_OPTION,
    ...ROOT_OPTIONS,
  },
  examples: [
    { what: 'Everything', line: 'gos3rve verify' },
    {
      what: 'Ten minutes each night, each object once a month',
      line: 'gos3rve verify --since 30d --budget 10m --rate 50MB',
    },
  ],
  exits: { 1: 'nothing begins with the prefix', [DAMAGE]: 'an object is damaged, or it or a folder cannot be read' },
  async run(call) {
    const [{ openSession }, { verify: run }, { checkPrefix }, report] = await Promise.all([
      import('../session.js'),
      import('../../jobs/verify.js'),
      import('../listing.js'),
      import('../verify-report.js'),
    ]);
    const { options, out, signal, args } = call;
    const session = await openSession(call);
    const { verifier } = session.store;
    const [written] = args;
    const target = written === undefined ? undefined : session.target(written);
    if (target) await session.store.getBucket(target.bucket);
    let printed = Promise.resolve();
    const started = Date.now();
    const { since, budget, rate: limit } = options;
    const result = await run(verifier, {
      ...(target && { scope: verifier.scope(target.bucket, target.key) }),
      ...(since !== undefined && { since }),
      ...(budget !== undefined && { budget }),
      ...(limit !== undefined && { rate: limit }),
      signal,
      progress: (state) => out.progress(report.progressLine(state, Date.now() - started)),
      damage: (name, verdict) => {
        printed = printed.then(() =>
          options.json ? out.json({ object: name, ...verdict }) : out.line(report.damageLine(name, verdict)),
        );
        // thrown once it is awaited
        printed.catch(() => undefined);
      },
    });
    await printed;
    if (target && result.objects + result.closed === 0) await checkPrefix(session.store, target);
    await (options.json ? out.json({ ...result, ms: Date.now() - started }) : out.line(report.resultLine(result)));
    return result.damaged + result.unreadable + result.closed > 0 ? DAMAGE : 0;
  },
});

function rate(written: string): number {
  const bytes = size(written.replace(/\/s$/, ''));
  if (bytes === 0) throw new Error('reads nothing; write it like 100MB');
  return bytes;
}
