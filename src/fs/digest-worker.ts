/** The thread that computes digests of long bodies, beside the one that reads them from the network: see digest-thread.ts. */
import { parentPort } from 'node:worker_threads';
import type { FromDigester, ToDigester } from './digest-protocol.js';
import { createHasher, prepareHashes, type Hasher } from './hash.js';

const hashers = new Map<number, Hasher>();
const slots: Uint8Array[] = [];

await prepareHashes();
parentPort?.on('message', (message: ToDigester) => {
  if (message.kind === 'open') {
    hashers.set(message.body, createHasher(message.algorithms));
    return;
  }
  const hasher = hashers.get(message.body);
  if (!hasher) throw new Error('no such body');
  switch (message.kind) {
    case 'shared':
      if (message.memory) slots[message.slot] = new Uint8Array(message.memory);
      hasher.update(slotOf(message.slot).subarray(0, message.length));
      say({ kind: 'updated' });
      return;
    case 'copied':
      hasher.update(message.bytes);
      say({ kind: 'updated' });
      return;
    case 'digest':
      hashers.delete(message.body);
      say({ kind: 'digests', digests: hasher.digest() });
      return;
    case 'drop':
      hashers.delete(message.body);
  }
});
say({ kind: 'ready' });

function slotOf(number: number): Uint8Array {
  const slot = slots[number];
  if (!slot) throw new Error('no such memory');
  return slot;
}

function say(message: FromDigester): void {
  parentPort?.postMessage(message);
}
