/**
 * A power cut without a disk of its own: loaded into a process (`node --import`), it writes down every call that changes something below RECORD_ROOT, and
 * what fsync(2) has made safe since. Before call number RECORD_CUT it takes back, newest first, what no fsync covers, and kills the process.
 *
 * Bytes are safe once their file was flushed, names once their directory was. Unsafe bytes are lost each with probability RECORD_LOSS. Names are lost
 *
 * - with RECORD_ORDER=names as on file systems with a journal of their own (ext4, XFS, ZFS): in order, so that any flush saves all names before it;
 * - with RECORD_ORDER=any as POSIX allows: each by itself, and the old name of a file may come back beside the new one.
 *
 * Not seen: what LMDB does (delete the index), and calls under way in other threads. RECORD_ASIDE is a folder on the same file system.
 */
import fs from 'node:fs';
import promises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';

const {
  RECORD_ROOT: root = '',
  RECORD_ASIDE: aside = '',
  RECORD_CUT = '0',
  RECORD_LOSS = '1',
  RECORD_ORDER = 'names',
} = process.env;
const real = { ...fs };
const log = [];
let counter = 0;

/** Without links on the way: of directories that are reached through procfs, too. */
function resolve(name) {
  const text = String(name);
  try {
    const linked = /^\/proc\/self\/fd\/\d+$/.exec(path.dirname(text));
    return linked ? path.join(real.readlinkSync(linked[0]), path.basename(text)) : path.resolve(text);
  } catch {
    return path.resolve(text);
  }
}
function ofFd(fd) {
  try {
    return real.readlinkSync(`/proc/self/fd/${fd}`).replace(/ \(deleted\)$/, '');
  } catch {
    return '';
  }
}
const isOurs = (name) => name.startsWith(`${root}/`) && !name.startsWith(`${root}/.gos3rve/index`);
const stat = (name) => {
  try {
    return real.lstatSync(name, { throwIfNoEntry: false });
  } catch (error) {
    // a file stands where a folder would be
    if (error.code === 'ENOTDIR') return undefined;
    throw error;
  }
};
const inode = (name) => stat(name)?.ino;
const folder = (name) => inode(path.dirname(name));

function note(entry) {
  log.push(entry);
  return entry;
}
/** Before each call. */
function tick() {
  if (++counter === Number(RECORD_CUT)) cut();
}
/** Keeps the file that a call is about to take away. */
function keep(name) {
  if (stat(name)?.isFile() !== true) return undefined;
  const kept = path.join(aside, `${process.pid}-${log.length}-${counter}`);
  real.linkSync(name, kept);
  return kept;
}

/** Files that were written and not flushed: inode -> a descriptor of our own. */
const written = new Map();
function noteWrite(fd, at, length) {
  const { ino, size } = real.fstatSync(fd);
  if (!written.has(ino)) written.set(ino, real.openSync(`/proc/self/fd/${fd}`, 'r+'));
  const old = Buffer.alloc(Math.max(0, Math.min(size - at, length)));
  if (old.length > 0) real.readSync(written.get(ino), old, 0, old.length, at);
  note({ kind: 'write', ino, at, length, old });
}
/** What is safe when a flush that begins now has ended. */
function flushOf(fd) {
  const { ino } = real.fstatSync(fd);
  const until = log.length;
  return () => {
    for (const entry of log.slice(0, until)) {
      if (entry.ino === ino && entry.kind === 'write') entry.safe = true;
      if (entry.to === ino) entry.safe = true;
      if (entry.from === ino) entry.fromSafe = true;
    }
    if (log.some((entry) => entry.kind === 'write' && entry.ino === ino && !entry.safe)) return;
    const own = written.get(ino);
    if (own !== undefined) real.closeSync(own);
    written.delete(ino);
  };
}

/** Takes back one call, if what came after leaves it possible. */
const UNDO = {
  write({ ino, at, length, old }) {
    const fd = written.get(ino);
    if (fd === undefined) return;
    const { size } = real.fstatSync(fd);
    if (size === at + length && old.length < length) {
      // a part of the last write may be there
      real.ftruncateSync(
        fd,
        at + old.length + (Math.random() < 0.3 ? Math.floor(Math.random() * (length - old.length)) : 0),
      );
    } else if (size > at + old.length) {
      real.writeSync(fd, Buffer.alloc(Math.min(length, size - at) - old.length), 0, undefined, at + old.length);
    }
    if (old.length > 0) real.writeSync(fd, old, 0, old.length, at);
  },
  made({ name, made }) {
    if (inode(name) === made) real.rmSync(name);
  },
  directory({ name, made }) {
    if (inode(name) === made && real.readdirSync(name).length === 0) real.rmdirSync(name);
  },
  rename({ source, name, made, kept, from }) {
    if (inode(name) !== made || stat(source) || folder(source) !== from) return;
    real.renameSync(name, source);
    if (kept) real.renameSync(kept, name);
  },
  gone({ name, kept, to }) {
    // not into another directory that has the name by now: the old one was removed, and with it all that it held
    if (!kept || stat(name) || folder(name) !== to) return;
    real.renameSync(kept, name);
  },
  goneDirectory({ name }) {
    if (!stat(name) && stat(path.dirname(name))) real.mkdirSync(name);
  },
};
function cut() {
  const ordered = RECORD_ORDER === 'names';
  const safe = log.findLastIndex((entry) => entry.safe) + 1;
  // names before this call reached the disk, all after it did not
  const reached = safe + Math.floor(Math.random() * (log.length - safe + 1));
  for (let i = log.length - 1; i >= 0; i--) {
    const entry = log[i];
    const loses =
      ordered && (i >= reached || entry.kind !== 'write') ? i >= reached : Math.random() < Number(RECORD_LOSS);
    if (!entry.safe && loses) UNDO[entry.kind](entry);
    else if (!ordered && entry.kind === 'rename' && !entry.fromSafe && loses) comesBack(entry);
  }
  process.kill(process.pid, 'SIGKILL');
}
/** The old name of a rename, beside the new one. */
function comesBack({ source, name, isFile, made, from }) {
  if (isFile && inode(name) === made && !stat(source) && folder(source) === from) real.linkSync(name, source);
}

/** Functions that change a name: `(resolved path, …) => what to note, once it is done`. */
const NAMES = {
  unlinkSync(name) {
    const kept = keep(name);
    return () => ({ kind: 'gone', name, kept, to: folder(name) });
  },
  rmdirSync: (name) => () => ({ kind: 'goneDirectory', name, to: folder(name) }),
  mkdirSync(name) {
    if (stat(name)) return undefined;
    return () => ({ kind: 'directory', name, made: inode(name), to: folder(name) });
  },
  renameSync(source, to) {
    const name = resolve(to);
    const kept = keep(name);
    const isFile = stat(source)?.isFile();
    return () => ({
      kind: 'rename',
      source,
      name,
      kept,
      isFile,
      made: inode(name),
      to: folder(name),
      from: folder(source),
    });
  },
  linkSync(source, to) {
    const name = resolve(to);
    return () => ({ kind: 'made', name, made: inode(name), to: folder(name) });
  },
};
for (const [call, before] of Object.entries(NAMES)) {
  fs[call] = (first, ...rest) => {
    const name = resolve(first);
    if (!isOurs(name) && !(typeof rest[0] === 'string' && isOurs(resolve(rest[0])))) return real[call](first, ...rest);
    tick();
    const after = before(name, ...rest);
    const result = real[call](first, ...rest);
    if (after) note(after());
    return result;
  };
}

/** Whether an open makes the file. */
function makes(name, flags = 'r') {
  const creates = typeof flags === 'number' ? (flags & fs.constants.O_CREAT) !== 0 : /[wa]/.test(flags);
  return creates && isOurs(name) && !stat(name);
}
const noteMade = (name) => note({ kind: 'made', name, made: inode(name), to: folder(name) });
fs.openSync = (file, flags, mode) => {
  const name = resolve(file);
  const isNew = makes(name, flags);
  if (isNew) tick();
  const fd = real.openSync(file, flags, mode);
  if (isNew) noteMade(name);
  return fd;
};
fs.writeSync = (fd, data, ...rest) => {
  const name = ofFd(fd);
  if (!isOurs(name)) return real.writeSync(fd, data, ...rest);
  tick();
  const isText = typeof data === 'string';
  const position = isText ? rest[0] : rest[2];
  const length = isText ? Buffer.byteLength(data) : (rest[1] ?? data.length - (rest[0] ?? 0));
  noteWrite(fd, typeof position === 'number' ? position : real.fstatSync(fd).size, length);
  return real.writeSync(fd, data, ...rest);
};
fs.writeFileSync = (file, data, options) => {
  if (typeof file === 'number') return void fs.writeSync(file, Buffer.from(data));
  const flag = options?.flag ?? 'w';
  if (!isOurs(resolve(file))) return real.writeFileSync(file, data, options);
  const fd = fs.openSync(file, flag, options?.mode);
  try {
    fs.writeSync(fd, Buffer.from(data));
  } finally {
    real.closeSync(fd);
  }
};
for (const call of ['fsyncSync', 'fdatasyncSync']) {
  fs[call] = (fd) => {
    const done = flushOf(fd);
    real[call](fd);
    done();
  };
}
for (const call of ['fsync', 'fdatasync']) {
  fs[call] = (fd, then) => {
    const done = flushOf(fd);
    real[call](fd, (error) => {
      if (!error) done();
      then(error);
    });
  };
}

const open = promises.open;
promises.open = async (file, flags, mode) => {
  const name = resolve(file);
  const isNew = makes(name, flags);
  if (isNew) tick();
  const handle = await open(file, flags, mode);
  if (isNew) noteMade(name);
  return handle;
};
const sample = await open('/proc/self/stat', 'r');
const handles = Object.getPrototypeOf(sample);
await sample.close();
const { write, sync } = handles;
handles.write = async function (data, offset, length, position) {
  if (isOurs(ofFd(this.fd))) {
    tick();
    noteWrite(this.fd, position ?? real.fstatSync(this.fd).size, length);
  }
  return write.call(this, data, offset, length, position);
};
handles.sync = async function () {
  const done = flushOf(this.fd);
  await sync.call(this);
  done();
};
if (isMainThread) syncBuiltinESMExports();
