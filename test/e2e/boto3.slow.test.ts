/** boto3: the session itself is Python, boto3_session.py. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ACCESS_KEY, bench, describeClient, pythonWithBoto3, REGION, run, SECRET_KEY } from './harness.js';

describeClient('boto3', 'python3', (found) => {
  it('puts, gets, lists, copies, uploads 64 MiB in parts and deletes', async () => {
    const b = await bench({ workers: 2 }, async (root) => {
      await mkdir(path.join(root, 'box'));
    });
    try {
      const { stdout } = await run(
        await pythonWithBoto3(found),
        [path.join(import.meta.dirname, 'boto3_session.py'), b.server.url],
        {
          env: {
            AWS_ACCESS_KEY_ID: ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY: SECRET_KEY,
            AWS_DEFAULT_REGION: REGION,
            E2E_ROOT: b.server.root,
          },
        },
      );
      expect(stdout.trim().split('\n').at(-1)).toBe('all is well');
    } finally {
      await b.end();
    }
  });
});
