/** All rows of a table, a page at a time, with a pause after each: other work goes on, and what is seen may be removed. */
import type { TableName } from '../../catalog/lmdb.js';
import type { WholeIndex } from '../../catalog/whole.js';
import type { Core } from '../core.js';

export interface CollectOptions {
  /** Only count. */
  dryRun: boolean;
  signal: AbortSignal;
}

const PAGE = 256;

/** @throws NotReady once the index is another one: the rows that were seen were not all. */
export async function* rowsOf(
  core: Core,
  whole: WholeIndex,
  table: TableName,
  signal: AbortSignal,
): AsyncGenerator<{ key: Buffer; value: Buffer }> {
  const { index } = core.catalog;
  for (let start = Buffer.alloc(1); ;) {
    core.checkRoot();
    index.refresh();
    const page = index.page(table, start, Buffer.alloc(16, 0xff), PAGE);
    whole.check();
    const last = page.at(-1);
    if (!last) return;
    start = Buffer.concat([last.key, Buffer.alloc(1)]);
    yield* page.map(({ key, value }) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
    await new Promise((resolve) => setImmediate(resolve));
    signal.throwIfAborted();
  }
}
