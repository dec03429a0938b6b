import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { silentLog } from '../../../src/base/log.js';
import { EventService } from '../../../src/jobs/events/service.js';
import { openStore, type LocalStore } from '../../../src/store/open.js';

let root = '';
let store: LocalStore;
let service: EventService;

beforeEach(async () => {
  root = mkdtempSync(path.join(os.tmpdir(), 'gos3rve-service-'));
  store = await openStore(root, { durability: 'fast' });
  await store.createBucket('box', {});
  await store.updateBucket('box', (settings) => ({ ...settings, notification: { rules: [], eventBridge: true } }));
  service = new EventService({
    store,
    targets: [{ name: 'eventbridge', url: 'http://127.0.0.1:1/', timeout: 1000 }],
    region: 'us-east-1',
    owner: '',
    log: silentLog,
  });
  await service.start();
});
afterEach(async () => {
  vi.useRealTimers();
  await service.stop();
  await store.close();
  rmSync(root, { recursive: true });
});

it('waits while no server runs, too, after the index was lost under it', async () => {
  rmSync(path.join(root, '.gos3rve/index'), { recursive: true });
  expect(store.changes.wanted).toBe(false);
  await vi.waitFor(() => expect(store.changes.wanted).toBe(true), 5000);
  await service.stop();
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_600_000 });
  expect(store.changes.wanted).toBe(true);
});
