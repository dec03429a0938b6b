/**
 * The contract of a store (`src/store/contract.ts`) as tests. Every implementation runs the one suite:
 *
 *     storeContract('local', async (options) => { … return { store, root, stop }; });
 */
import { describe } from 'vitest';
import { appendContract } from './store/append.js';
import { bucketContract } from './store/buckets.js';
import { conditionContract } from './store/conditions.js';
import { copyContract } from './store/copy.js';
import { durableContract } from './store/durable.js';
import { excludeContract } from './store/excludes.js';
import { foreignContract } from './store/foreign.js';
import { keyContract } from './store/keys.js';
import type { MakeStore, SpawnChild } from './store/kit.js';
import { linkContract } from './store/links.js';
import { listContract } from './store/list.js';
import { markerContract } from './store/markers.js';
import { meanwhileContract } from './store/meanwhile.js';
import { multipartContract } from './store/multipart.js';
import { objectContract } from './store/objects.js';
import { prefixContract } from './store/prefix.js';

export type { FixtureOptions, MakeStore, SpawnChild, StoreFixture } from './store/kit.js';

/**
 * @param make opens a store on a fresh root, or on `options.root`.
 * @param child starts processes on a root ({@link SpawnChild}); without it the kill -9 tests are left out.
 */
export function storeContract(name: string, make: MakeStore, child?: SpawnChild): void {
  describe(`${name} store`, () => {
    bucketContract(make);
    objectContract(make);
    conditionContract(make);
    copyContract(make);
    appendContract(make);
    meanwhileContract(make);
    keyContract(make);
    foreignContract(make);
    excludeContract(make);
    linkContract(make);
    listContract(make);
    markerContract(make);
    multipartContract(make);
    prefixContract(make);
    durableContract(make, child);
  });
}
