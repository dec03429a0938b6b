/** The thread that computes digests of long bodies, beside the one that reads them from the network: see digest-thread.ts. */
import { parentPort } from 'node:worker_threads';
import type { FromDigester, ToDigester } from './digest-protocol.js';
import { prepareHashes, type BodyHasher } from './hash.js';
import { hashTogether } from './hash-together.js';

const hashers = new Map<number, BodyHasher>();
const slots: Uint8Array[] = [];

await prepareHashes();
parentPort?.on('message', (message: ToDigester) => {
  if (message.kind === 'open') hashers.set(message.body, hashTogether(message.algorithms, message.size));
  else void answer(message);
});

async function answer(message: Exclude<ToDigester, { kind: 'open' }>): Promise<void> {
  const { kind, body } = message;
  const hasher = hashers.get(body);
  if (!hasher) throw new Error('no such body');
  if (kind === 'drop' || kind === 'digest') hashers.delete(body);
  if (kind === 'drop') {
    hasher.drop();
    return;
  }
  const { asked } = message;
  if (kind === 'digest') {
    say({ kind: 'digests', asked, digests: await hasher.digest() });
    return;
  }
  await hasher.update(kind === 'shared' ? bytesOf(message) : message.bytes);
  say({ kind: 'updated', asked });
}

say({ kind: 'ready' });

function bytesOf({ slot, length, memory }: Extract<ToDigester, { kind: 'shared' }>): Uint8Array {
  if (memory) slots[slot] = new Uint8Array(memory);
  const known = slots[slot];
  if (!known) throw new Error('no such memory');
  return known.subarray(0, length);
}

function say(message: FromDigester): void {
  parentPort?.postMessage(message);
}
