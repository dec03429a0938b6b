/**
 * A process that is to die: opens a store, then runs one operation and is killed with -9 at its n-th change of the file system.
 *
 *     node crash-child.js <module with openStore> <root> <operation> <before|after|torn> <n>
 *
 * `before` dies instead of making the n-th call, `after` when it has returned, `torn` when half of the n-th write is out. Calls are counted
 * where they leave JavaScript (node:fs), which is deterministic and also meets those in the thread pool. Prints `done` and the
 * names of the calls once the operation has answered, and then dies as well: nothing may hang on a clean end.
 */
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { pathToFileURL } from 'node:url';
import { OPERATIONS, OPTIONS } from './crash-operations.js';

const [door, root, operation, when, nth] = process.argv.slice(2);
const SYNC =
  'writeSync renameSync linkSync unlinkSync mkdirSync rmdirSync rmSync ftruncateSync fsyncSync fdatasyncSync copyFileSync'.split(
    ' ',
  );
const CALLBACK = ['fsync', 'fdatasync', 'write', 'rename', 'unlink', 'ftruncate'];
const PROMISE = ['copyFile', 'rename', 'unlink', 'rm', 'mkdir', 'rmdir', 'link'];
const HANDLE = ['write', 'sync', 'datasync', 'truncate'];

let armed = false;
const calls = [];

const die = () => process.kill(process.pid, 'SIGKILL');

/** Whether this call is the last one. */
function last(name) {
  if (!armed) return false;
  calls.push(name);
  return calls.length === Number(nth);
}

/** A write's arguments, for half of its bytes. */
function half([fd, data, ...rest]) {
  const bytes = Buffer.from(data);
  const offset = typeof data === 'string' ? 0 : (rest[0] ?? 0);
  const position = typeof data === 'string' ? rest[0] : rest[2];
  return [fd, bytes, offset, Math.floor((bytes.length - offset) / 2), position];
}

for (const name of SYNC) {
  const real = fs[name];
  fs[name] = (...args) => {
    if (!last(name)) return real(...args);
    if (when === 'torn' && name === 'writeSync') real(...half(args));
    else if (when === 'after') real(...args);
    return die();
  };
}
for (const name of CALLBACK) {
  const real = fs[name];
  fs[name] = (...args) => {
    if (!last(name)) return real(...args);
    if (when !== 'after') return die();
    return real(...args.slice(0, -1), die);
  };
}
for (const name of PROMISE) {
  const real = promises[name];
  promises[name] = async (...args) => {
    if (!last(name)) return real(...args);
    if (when === 'after') await real(...args);
    return die();
  };
}
const probe = await promises.open(root, 'r');
const prototype = Object.getPrototypeOf(probe);
await probe.close();
for (const name of HANDLE) {
  const real = prototype[name];
  prototype[name] = async function (...args) {
    if (!last(name)) return real.apply(this, args);
    if (when === 'after') await real.apply(this, args);
    if (when === 'torn' && name === 'write') {
      const [data, offset, length, position] = args;
      await real.call(this, data, offset, Math.floor(length / 2), position);
    }
    return die();
  };
}
syncBuiltinESMExports();

const { openStore } = await import(pathToFileURL(door).href);
const store = await openStore(root, OPTIONS);
armed = true;
await OPERATIONS[operation].run(store);
armed = false;
fs.writeSync(1, `done ${calls.join(' ')}\n`);
die();
