/**
 * Run as a process of its own by `claim.ts`: reads an index through, for some time at most. Ends with 1 on a damaged row; on worse damage LMDB
 * ends it by a signal.
 *
 *     node probe.js <file> <ms>
 */
import { Index } from './lmdb.js';
import { decodeRow } from './rows.js';

const [path = '', ms = '0'] = process.argv.slice(2);
const until = performance.now() + Number(ms);

function readThrough(index: Index): void {
  for (const table of ['tree', 'overflow', 'meta', 'uploads', 'parts', 'layouts'] as const) {
    let start: Buffer = Buffer.alloc(1);
    for (;;) {
      const page = index.page(table, start, Buffer.alloc(2, 0xff), 1000);
      const last = page.at(-1);
      if (!last || performance.now() > until) break;
      if (table === 'tree' || table === 'overflow') for (const { value } of page) decodeRow(value);
      start = Buffer.concat([last.key, Buffer.from([0])]);
    }
  }
}

const index = Index.open(path);
// what it throws is the answer
readThrough(index);
await index.close();
