/** What `mv` does: one object, or all objects below a prefix. */
import { S3Error, UsageError } from '../base/errors.js';
import type { MoveReport, MoveStep, ObjectRef, Store } from '../store/contract.js';
import type { Call } from './commands/command.js';
import { count, humanSize, printable } from './output.js';
import { openSession } from './session.js';
import { showTarget, type ObjectTarget } from './target.js';

interface MvOptions {
  force: boolean;
  prefix: boolean;
  dryRun: boolean;
  json: boolean;
}

/** Resolves to the exit code. @throws UsageError, S3Error. */
export async function move(call: Call, options: MvOptions): Promise<number> {
  const [source = '', target = ''] = call.args;
  const session = await openSession(call, { writes: !options.dryRun });
  const [from, to] = [session.target(source), session.target(target)];
  const { store } = session;
  try {
    if (options.prefix || isPrefix(from)) {
      if (!options.prefix && !isPrefix(to)) to.key += '/';
      return await movePrefix(call, store, from, to, options);
    }
    const name = from.key.slice(from.key.lastIndexOf('/') + 1);
    return await moveObject(call, store, from, isPrefix(to) ? { ...to, key: to.key + name } : to, options);
  } catch (error) {
    throw explained(error, from);
  }
}

/** A bucket, or what ends in `/`. */
function isPrefix({ key }: ObjectTarget): boolean {
  return key === '' || key.endsWith('/');
}

async function moveObject(
  { out }: Call,
  store: Store,
  from: ObjectTarget,
  to: ObjectTarget,
  { force, dryRun, json }: MvOptions,
): Promise<number> {
  if (from.bucket === to.bucket && from.key === to.key) throw new UsageError(`${showTarget(from)} is its own target`);
  if (!(await isThere(store, from))) {
    const below = await store.list(from.bucket, { prefix: `${from.key}/`, delimiter: '', after: '', max: 1 });
    if (below.entries.length > 0)
      throw new UsageError(`${showTarget(from)} is a prefix; write ${showTarget(from)}/ to move all below it`);
  }
  const replaced = await isThere(store, to);
  if (dryRun) {
    await store.head(from.bucket, from.key);
    if (replaced && !force) throw taken(to.key);
  } else {
    await store.getBucket(to.bucket);
    const free = { condition: { ifNoneMatch: ['*'] }, resume: true };
    await store.move(from, to, force ? {} : free).catch((error: unknown) => {
      throw error instanceof S3Error && error.code === 'PreconditionFailed' ? taken(to.key) : error;
    });
  }
  const there = force || dryRun ? { replaced } : { resumed: true };
  const step = { kind: 'object', from: showTarget(from), to: showTarget(to), ...(replaced && there) };
  if (json) await out.json(step);
  else if (dryRun || replaced || out.terminal) await out.line(told(step, dryRun));
  return 0;
}

async function isThere(store: Store, { bucket, key }: ObjectRef): Promise<boolean> {
  return store.head(bucket, key).then(
    () => true,
    (error: unknown) => {
      if (error instanceof S3Error && error.code === 'NoSuchKey') return false;
      throw error;
    },
  );
}

async function movePrefix(
  { out, signal }: Call,
  store: Store,
  from: ObjectTarget,
  to: ObjectTarget,
  { force, dryRun, json }: MvOptions,
): Promise<number> {
  const progress = new Progress();
  const onStep = async (step: MoveStep): Promise<void> => {
    const named = {
      ...step,
      from: showTarget({ ...from, key: step.from }),
      to: showTarget({ ...to, key: step.to }),
    };
    if (json) await out.json(named);
    if (step.gone) out.warn(`${printable(named.from)} was not moved: it was gone when its turn came`);
    else if (!json && (dryRun || step.replaced || step.resumed)) await out.line(told(named, dryRun));
    out.progress(progress.after(step));
  };
  const onTotal = (total: { objects: number; bytes: number }): void => void (progress.total = total);
  const report = await store.movePrefix(from, to, { force, dryRun, signal, onStep, onTotal });
  if (json) await out.json({ moved: report, dryRun });
  else if (!dryRun) await out.line(summary(report));
  return report.gone === undefined ? 0 : 1;
}

function summary({ directories, objects, replaced }: MoveReport): string {
  const parts = [
    ...(directories > 0 ? [count(directories, 'folder')] : []),
    ...(objects > 0 || directories === 0 ? [count(objects, 'object')] : []),
  ];
  return `moved ${parts.join(' and ')}${replaced > 0 ? `, ${replaced.toLocaleString('en')} replaced` : ''}`;
}

function told(
  step: { from: string; to: string; kind: string; replaced?: boolean; resumed?: boolean },
  dry: boolean,
): string {
  const notes = [
    ...(step.kind === 'directory' ? ['one rename'] : []),
    ...(step.replaced ? [dry ? 'would be replaced' : 'replaced'] : []),
    ...(step.resumed ? ['copied before'] : []),
  ];
  return `${printable(step.from)} -> ${printable(step.to)}${notes.length > 0 ? ` (${notes.join(', ')})` : ''}`;
}

/** How far it is; what is copied to another file system has a known end. */
class Progress {
  total: { objects: number; bytes: number } | undefined;
  private steps = 0;
  private bytes = 0;
  private readonly begun = performance.now();

  after(step: MoveStep): string {
    this.steps++;
    this.bytes += step.size ?? 0;
    const { total } = this;
    if (!total) return `${count(this.steps, 'step')} done`;
    const rate = this.bytes / Math.max(0.001, (performance.now() - this.begun) / 1000);
    const left = rate > 0 ? Math.ceil((total.bytes - this.bytes) / rate) : 0;
    return (
      `${this.steps.toLocaleString('en')} of ${count(total.objects, 'object')}, ` +
      `${humanSize(this.bytes)} of ${humanSize(total.bytes)}, ${humanSize(rate)}/s, ${left} s left`
    );
  }
}

function taken(key: string): S3Error {
  return new S3Error('PreconditionFailed', `There is something at "${key}" already.`);
}

/** With the way out that this command has. */
function explained(error: unknown, from: ObjectTarget): unknown {
  if (!(error instanceof S3Error)) return error;
  const text = error.message.replace(/\.$/, '');
  if (error.code === 'PreconditionFailed') return new UsageError(`${text}; pass --force to replace or merge`, 1);
  if (error.code === 'NoSuchKey') {
    const what = isPrefix(from) ? 'nothing in' : 'no object';
    return new UsageError(`there is ${what} ${showTarget(from)}`, 1);
  }
  return error;
}
