/**
 * A process that is to die: opens a store, then runs one operation and is killed with -9 at its n-th change of the file system.
 *
 *     node crash-child.js <dist> <root> <operation> <before|after|torn> <n>
 *
 * `before` dies instead of making the n-th call, `after` when it has returned, `torn` when half of the n-th write is out. Calls are counted
 * where they leave JavaScript (node:fs), which is deterministic and also meets those in the thread pool; a transaction of the index is one
 * more, that dies with all of it done but not committed, or right after its commit. Prints `done` and the names of the calls once the
 * operation has answered, and then dies as well: nothing may hang on a clean end.
 */
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { AGAIN, COLLECT_AGAIN, OPERATIONS, OPTIONS } from './crash-operations.js';

const [dist, root, operation, when, nth] = process.argv.slice(2);
const SYNC =
  'openSync writeSync writeFileSync appendFileSync renameSync linkSync symlinkSync unlinkSync mkdirSync rmdirSync rmSync ftruncateSync truncateSync fsyncSync fdatasyncSync copyFileSync chmodSync fchmodSync chownSync fchownSync lchownSync utimesSync futimesSync'.split(
    ' ',
  );
const CALLBACK = ['fsync', 'fdatasync', 'write', 'rename', 'unlink', 'ftruncate'];
const PROMISE = 'open copyFile rename unlink rm mkdir rmdir link utimes chmod writeFile'.split(' ');
const HANDLE = ['write', 'writev', 'sync', 'datasync', 'truncate', 'utimes', 'chmod', 'chown'];

let armed = false;
/** Within a call that Node makes of several others. */
let inside = false;
const calls = [];

const die = () => process.kill(process.pid, 'SIGKILL');

/** Whether this call is the last one. */
function last(name, args) {
  if (!armed || inside || (name.startsWith('open') && !creates(args[1]))) return false;
  calls.push(name);
  return calls.length === Number(nth);
}

function creates(flags) {
  return typeof flags === 'number'
    ? (flags & (fs.constants.O_CREAT | fs.constants.O_TRUNC)) !== 0
    : /^[wa]/.test(flags ?? '');
}

/** A write's arguments, for half of its bytes. */
function half([fd, data, ...rest]) {
  const bytes = Buffer.from(data);
  const offset = typeof data === 'string' ? 0 : (rest[0] ?? 0);
  const position = typeof data === 'string' ? rest[0] : rest[2];
  return [fd, bytes, offset, Math.floor((bytes.length - offset) / 2), position];
}

function whole(real, args) {
  const before = inside;
  inside = true;
  try {
    return real(...args);
  } finally {
    inside = before;
  }
}

for (const name of SYNC) {
  const real = fs[name];
  fs[name] = (...args) => {
    if (!last(name, args)) return whole(real, args);
    if (when === 'torn' && name === 'writeSync') whole(real, half(args));
    else if (when === 'torn' && name === 'writeFileSync')
      whole(real, [args[0], String(args[1]).slice(0, String(args[1]).length / 2), ...args.slice(2)]);
    else if (when === 'after') whole(real, args);
    return die();
  };
}
for (const name of CALLBACK) {
  const real = fs[name];
  fs[name] = (...args) => {
    if (!last(name, args)) return real(...args);
    if (when !== 'after') return die();
    return real(...args.slice(0, -1), die);
  };
}
for (const name of PROMISE) {
  const real = promises[name];
  promises[name] = async (...args) => {
    if (!last(name, args)) return real(...args);
    if (when !== 'before') await real(...args);
    if (when === 'torn' && name === 'copyFile') await promises.truncate(args[1], 1);
    return die();
  };
}
const probe = await promises.open(root, 'r');
const prototype = Object.getPrototypeOf(probe);
await probe.close();
for (const name of HANDLE) {
  const real = prototype[name];
  prototype[name] = async function (...args) {
    if (!last(name, args)) return real.apply(this, args);
    if (when === 'after') await real.apply(this, args);
    if (when === 'torn' && name === 'write') {
      const [data, offset, length, position] = args;
      await real.call(this, data, offset, Math.floor(length / 2), position);
    }
    return die();
  };
}
syncBuiltinESMExports();

const load = (file) => import(pathToFileURL(path.join(dist, file)).href);
const { Index } = await load('catalog/lmdb.js');
const { write } = Index.prototype;
let writing = false;
Index.prototype.write = function (work) {
  if (writing) return work();
  let ending = false;
  try {
    const result = write.call(this, () => {
      writing = true;
      try {
        return work();
      } finally {
        ending = last('commit', []);
        if (ending && when !== 'after') die();
      }
    });
    if (ending) die();
    return result;
  } finally {
    writing = false;
  }
};

const { openStore } = await load('store/open.js');
const store = await openStore(root, OPTIONS);
const { run, ready } = operation === AGAIN ? COLLECT_AGAIN : OPERATIONS[operation];
const more = { ready: await ready?.(store, load) };
armed = true;
await run(store, more);
armed = false;
fs.writeSync(1, `done ${calls.join(' ')}\n`);
die();
