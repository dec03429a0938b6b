/**
 * Another program: changes files under a root in every way, and writes down what it did and when (monotonic clock, ns), one line of JSON a change:
 * `what`, `start`, `end`, and for each key that is another thing now `[bucket, key, state]`, with the state as `version/length`, or null for nothing. `loose`: the
 * bytes came one after the other, so that any beginning of them may have been met between start and end.
 *
 *     node outside.js <root> <folder for temporary files> <log>          until its standard input ends
 */
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FIXED, FOLDERS, FILES, SIDES, contentOf } from './outside-content.js';

const [root, aside, log] = process.argv.slice(2);
const out = fs.openSync(log, 'a');
const now = () => Number(process.hrtime.bigint());
const pick = (list) => list[Math.floor(Math.random() * list.length)];
const at = (...names) => path.join(root, ...names);
let counter = 0;
const temporary = () => path.join(aside, `t${++counter}`);

/** Folder slot -> the name it has now, or undefined while a file stands there; bucket `side` likewise. */
const names = new Map(FOLDERS.map((folder) => [folder, folder]));
let side = SIDES[0];
/** Slot + file -> { state, kind: 'file' | 'link' }; what is missing is not there. */
const files = new Map();
const stateOf = (slot, file) => files.get(`${slot}/${file}`)?.state ?? null;

function version(max = 5000) {
  const sizes = [64, 100, 1000, 4096, 5000, 40_000, 1_300_000].filter((size) => size <= max);
  return `v${process.pid}-${++counter}s${Math.random() < 0.1 ? sizes.at(-1) : pick(sizes.slice(0, 5))}`;
}
function whole(id) {
  return `${id}/${contentOf(id).length}`;
}
const SAME_TIME = 1_700_000_000;

/** Times one change and writes it down. */
function change(what, work, changes, loose) {
  const start = now();
  work();
  const end = now();
  fs.writeSync(out, `${JSON.stringify({ what, start, end, changes, ...(loose && { loose }) })}\n`);
}
const one = (slot, file, state) => [['box', `${names.get(slot)}/${file}`, state]];

function byRename(slot, file) {
  const id = version(1_300_000);
  const made = temporary();
  fs.writeFileSync(made, contentOf(id));
  // the same mtime for all: only the inode and the ctime tell them apart, if they have one size
  fs.utimesSync(made, SAME_TIME, SAME_TIME);
  change('byRename', () => fs.renameSync(made, at('box', names.get(slot), file)), one(slot, file, whole(id)));
  files.set(`${slot}/${file}`, { state: whole(id), kind: 'file', id });
}
function byWriting(slot, file) {
  if (files.get(`${slot}/${file}`)?.kind === 'link') return;
  const id = version(40_000);
  change(
    'byWriting',
    () => fs.writeFileSync(at('box', names.get(slot), file), contentOf(id)),
    one(slot, file, whole(id)),
    id,
  );
  files.set(`${slot}/${file}`, { state: whole(id), kind: 'file', id });
}
/**
 * The same size and mtime, other bytes, in place. Not of a file that was renamed by itself, before or after: rename(2) changes the ctime as well, so
 * that nothing may be left by which to tell.
 */
function sneakily(slot, file) {
  const old = files.get(`${slot}/${file}`);
  const size = Number(old?.state?.split('/')[1] ?? 0);
  if (old?.kind !== 'file' || size > 4096 || old.renamed) return;
  const id = `v${process.pid}-${++counter}s${size}`;
  const name = at('box', names.get(slot), file);
  if (contentOf(id).length !== size) return;
  fs.utimesSync(name, SAME_TIME, SAME_TIME);
  const fd = fs.openSync(name, 'r+');
  change(
    'sneakily',
    () => {
      fs.writeSync(fd, contentOf(id), 0, size, 0);
      fs.futimesSync(fd, SAME_TIME, SAME_TIME);
    },
    one(slot, file, whole(id)),
  );
  fs.closeSync(fd);
  files.set(`${slot}/${file}`, { state: whole(id), kind: 'file', id, sneaky: true });
}
function truncate(slot, file) {
  const old = files.get(`${slot}/${file}`);
  const size = Number(old?.state?.split('/')[1] ?? 0);
  if (old?.kind !== 'file' || size < 50) return;
  const state = `${old.id}/${Math.floor(size / 2)}`;
  change(
    'truncate',
    () => fs.truncateSync(at('box', names.get(slot), file), Math.floor(size / 2)),
    one(slot, file, state),
  );
  files.set(`${slot}/${file}`, { ...old, state });
}
function remove(slot, file) {
  if (!files.has(`${slot}/${file}`)) return;
  change('remove', () => fs.unlinkSync(at('box', names.get(slot), file)), one(slot, file, null));
  files.delete(`${slot}/${file}`);
}
function chmod(slot, file) {
  if (files.get(`${slot}/${file}`)?.kind === 'file')
    fs.chmodSync(at('box', names.get(slot), file), pick([0o600, 0o644]));
}
function link(slot, file) {
  const made = temporary();
  const target = Math.random() < 0.7 ? pick(FIXED) : undefined;
  const outside = target === undefined;
  fs.symlinkSync(outside ? path.join(aside, 'secret') : `../fixed/${target}`, made);
  const state = outside ? null : whole(target);
  change('link', () => fs.renameSync(made, at('box', names.get(slot), file)), one(slot, file, state));
  files.set(`${slot}/${file}`, { state, kind: 'link' });
}
function renameFile(slot, file) {
  const other = pick(present());
  const name = pick(FILES);
  const old = files.get(`${slot}/${file}`);
  if (!old || old.sneaky || (slot === other && file === name)) return;
  change('renameFile', () => fs.renameSync(at('box', names.get(slot), file), at('box', names.get(other), name)), [
    ...one(slot, file, null),
    ...one(other, name, old.state),
  ]);
  files.delete(`${slot}/${file}`);
  files.set(`${other}/${name}`, { ...old, renamed: true });
}
function renameFolder(slot) {
  const from = names.get(slot);
  const to = from === slot ? `${slot}-moved` : slot;
  const states = FILES.map((file) => [file, stateOf(slot, file)]);
  change(
    'renameFolder',
    () => fs.renameSync(at('box', from), at('box', to)),
    states.flatMap(([file, state]) => [
      ['box', `${from}/${file}`, null],
      ['box', `${to}/${file}`, state],
    ]),
  );
  names.set(slot, to);
}
/** A file where the folder was, for some moments. */
async function fileForFolder(slot) {
  const name = names.get(slot);
  const hold = temporary();
  const id = version();
  const states = FILES.map((file) => [file, stateOf(slot, file)]);
  const made = temporary();
  fs.writeFileSync(made, contentOf(id));
  names.set(slot, undefined);
  change(
    'fileForFolder',
    () => {
      fs.renameSync(at('box', name), hold);
      fs.renameSync(made, at('box', name));
    },
    [...states.map(([file]) => ['box', `${name}/${file}`, null]), ['box', name, whole(id)]],
  );
  await sleep(20);
  change(
    'fileForFolder',
    () => {
      fs.unlinkSync(at('box', name));
      fs.renameSync(hold, at('box', name));
    },
    [['box', name, null], ...states.map(([file, state]) => ['box', `${name}/${file}`, state])],
  );
  names.set(slot, name);
}
function renameBucket() {
  const to = side === SIDES[0] ? SIDES[1] : SIDES[0];
  const changes = FIXED.flatMap((file) => [
    [side, file, null],
    [to, file, whole(file)],
  ]);
  const from = side;
  change('renameBucket', () => fs.renameSync(at(from), at(to)), changes);
  side = to;
}

const present = () => FOLDERS.filter((slot) => names.get(slot) !== undefined);
const FILE_ACTS = [
  byRename,
  byRename,
  byWriting,
  byWriting,
  sneakily,
  sneakily,
  truncate,
  remove,
  chmod,
  link,
  renameFile,
];
let running = true;
process.stdin.on('end', () => (running = false)).resume();
for (let n = 1; running; n++) {
  const slot = pick(present());
  if (n % 200 === 0) await fileForFolder(slot);
  else if (n % 50 === 0) renameFolder(slot);
  else if (n % 77 === 0) renameBucket();
  else pick(FILE_ACTS)(slot, pick(FILES));
  await sleep(Math.random() * 6);
}
fs.closeSync(out);
