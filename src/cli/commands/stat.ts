import { JSON_OPTION, ROOT_OPTIONS, command } from './command.js';

export const stat = command({
  name: 'stat',
  summary: 'tell what is known of an object or a bucket',
  arguments: [{ name: 'BUCKET/KEY', help: 'the object, or a bucket', complete: 'object' }],
  options: { ...JSON_OPTION, ...ROOT_OPTIONS },
  examples: [
    { what: 'An object by its path', line: 'gos3rve stat ./photos/2024/cat.jpg' },
    { what: 'Its ETag alone', line: 'gos3rve stat photos/cat.jpg --json | jq -r .etag' },
  ],
  async run(call) {
    const [{ openSession }, report, { about }] = await Promise.all([
      import('../session.js'),
      import('../stat-report.js'),
      import('../failures.js'),
    ]);
    const session = await openSession(call);
    const { store } = session;
    const { bucket, key } = session.target(call.args[0] ?? '');
    const { json } = call.options;
    const known =
      key === ''
        ? report.bucketFacts(await store.getBucket(bucket))
        : report.objectFacts(await about(`${bucket}/${key}`, () => store.head(bucket, key)));
    if (json) return call.out.json(known);
    for (const line of report.lines(known)) await call.out.line(line);
  },
});
