import { describe, expect, it } from 'vitest';
import { banner } from '../../src/cli/banner.js';

const FACTS = {
  version: '0.1.0',
  root: '~/media',
  endpoint: 'http://127.0.0.1:9000',
  accessKey: `AKIA${'X'.repeat(16)}`,
  secretKey: 's'.repeat(40),
  secretHint: 'in ~/media/.gos3rve/credentials.json',
  region: 'us-east-1',
  anyRegion: true,
  remarks: ['Reachable from the network (--host 0.0.0.0).'],
};

describe('banner', () => {
  it('fits 80 columns', () => {
    for (const line of banner(FACTS, false).split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
  });

  it('names everything a client needs', () => {
    const text = banner(FACTS, false);
    for (const needed of [
      FACTS.endpoint,
      FACTS.accessKey,
      FACTS.secretKey,
      'aws --endpoint-url',
      'boto3.client',
      'rclone',
      'new S3Client',
    ])
      expect(text).toContain(needed);
  });

  it('says where a hidden secret lies, and holds no colour codes when there is no terminal', () => {
    const { secretKey, ...rest } = FACTS;
    const text = banner(rest, false);
    expect(text).not.toContain(secretKey);
    expect(text).toContain(FACTS.secretHint);
    expect(text).not.toContain('\u001b');
  });
});
