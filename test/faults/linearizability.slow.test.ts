/**
 * 100 clients in 4 processes work on 10 keys: puts, conditional puts and deletes, copies, moves. Each process has a store of its own on one root, or asks a server
 * with 4 workers by S3, while it moves objects through a store of its own.
 * Every history must be linearizable (linear.ts). Keys come in pairs, and moves stay within a pair, so each pair is checked by itself
 * (Herlihy and Wing: a history is linearizable if that of each of its objects is). All clients pause together every {@link ROUND_MS} while one process
 * reads each key: there a history can be cut, and both its parts are short enough to be decided.
 *
 * 4 s of work; with GOS3RVE_FULL=1 10 runs of 60 s. GOS3RVE_RUNS, with it, is how many of them.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { ACCESS_KEY, SECRET_KEY, serve } from '../e2e/harness.js';
import { BUCKET } from '../suites/store/kit.js';
import { ANY, checkHistory, not, type Step, type Verdict } from './linear.js';

const DOOR = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CLIENT = path.join(import.meta.dirname, 'linear-client.js');
const OVER_S3 = path.join(import.meta.dirname, 'linear-over-s3.js');
const FULL = process.env.GOS3RVE_FULL === '1';
const RUNS = FULL ? Number(process.env.GOS3RVE_RUNS ?? 10) : 1;
const SECONDS = FULL ? 60 : 4;
const ROUND_MS = 250;
const PROCESSES = 4;
const CLIENTS = 100;

interface Entry {
  what: 'read' | 'head' | 'put' | 'create' | 'replace' | 'remove' | 'removeIf' | 'copy' | 'move';
  key: string;
  to: string;
  call: number;
  return: number;
  /** The value in the object read, copied or moved. */
  saw?: string;
  wrote?: string;
  /** Of what was written or copied. */
  etag?: string;
  /** If-Match of the ETag of this value. */
  match?: string;
  /** If-None-Match: *. */
  absent?: boolean;
  /** Whether there was something to remove, where that was told. */
  existed?: boolean;
  failed?: string;
  message?: string;
}

describe.skipIf(!existsSync(DOOR))(`${CLIENTS} clients in 4 processes on 10 keys for ${SECONDS} s`, () => {
  it.each(Array.from({ length: RUNS }, (_, i) => i + 1))('are linearizable, run %i', async () => {
    const { outcome, stuck, ...counts } = await judge(true);
    expect([outcome, stuck]).toEqual(['linearizable', []]);
    console.log(JSON.stringify(counts));
  });

  it.each(Array.from({ length: RUNS }, (_, i) => i + 1))('are linearizable through 4 workers, run %i', async () => {
    const { outcome, stuck, ...counts } = await judge(true, { workers: 4 });
    expect([outcome, stuck]).toEqual(['linearizable', []]);
    console.log('by S3', JSON.stringify(counts));
  });

  // or this test would prove nothing; a few lies in a whole history
  it.each(['stale', 'lost'])('are caught where the store has a fault: %s', async (fault) => {
    const { outcome, ...counts } = await judge(false, { plant: `${fault} ${FULL ? 0.002 : 0.03}` });
    expect(outcome).toBe('violation');
    console.log(fault, JSON.stringify({ ...counts, stuck: counts.stuck.length }));
  });
});

interface How {
  /** See linear-client.js. */
  plant?: string;
  /** Of the server that is asked; without, each process asks its own store. */
  workers?: number;
}

/**
 * Records a history and looks for an order.
 * @param spoils whether the same history with one wrong answer in it must be refused
 */
async function judge(spoils: boolean, how: How = {}): Promise<Verdict & { operations: number; failed: object }> {
  const base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-linear-'));
  try {
    const entries = seen(await record(base, path.join(base, 'root'), how));
    expect(strange(entries)).toEqual([]);
    const total = { outcome: 'linearizable', stuck: [], configurations: 0, segments: 0 } as Verdict;
    for (const pair of new Set(entries.map(pairOf))) {
      const steps = entries.filter((entry) => pairOf(entry) === pair).flatMap(stepsOf);
      const { outcome, stuck, configurations, segments } = checkHistory(steps);
      total.configurations += configurations;
      total.segments += segments;
      if (outcome !== 'linearizable') Object.assign(total, { outcome, stuck });
      if (outcome === 'violation') break;
      if (spoils) expect(checkHistory(spoilt(steps)).outcome).toBe('violation');
    }
    return { ...total, operations: entries.length, failed: tally(entries) };
  } finally {
    // GOS3RVE_KEEP=1 leaves the histories to look at
    if (process.env.GOS3RVE_KEEP !== '1') await rm(base, { recursive: true, force: true });
  }
}

async function record(base: string, root: string, { plant = '', workers }: How): Promise<Entry[]> {
  await mkdir(root);
  const store = await openStore(root);
  await store.createBucket(BUCKET, {});
  await store.close();
  const server = workers === undefined ? undefined : await serve(root, { workers });
  const asked = { endpoint: server?.url, accessKeyId: ACCESS_KEY, secretAccessKey: SECRET_KEY, store: DOOR };
  const env = { GOS3RVE_PLANT: plant, GOS3RVE_LINEAR: JSON.stringify(asked) };
  const files = Array.from({ length: PROCESSES }, (_, i) => path.join(base, `history-${i}`));
  try {
    const processes = files.map((file, i) => new Worker([server ? OVER_S3 : DOOR, root], `w${i}`, file, env));
    await Promise.all(processes.map((one) => one.answer()));
    for (let worked = 0; worked < SECONDS * 1000; worked += ROUND_MS) {
      await Promise.all(processes.map((one) => one.ask({ work: ROUND_MS })));
      await pick(processes).ask({ read: true });
    }
    await Promise.all(processes.map((one) => one.end()));
  } finally {
    await server?.stop();
  }
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return texts.flatMap((text) => text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Entry])));
}

/** A process with a quarter of the clients: linear-client.js. */
class Worker {
  private readonly child: ChildProcess;
  private readonly closed: Promise<unknown[]>;
  private errors = '';

  constructor(store: readonly string[], name: string, file: string, env: Record<string, string>) {
    this.child = fork(CLIENT, [...store, BUCKET, name, String(CLIENTS / PROCESSES), file], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
      env: { ...process.env, ...env },
    });
    this.child.stderr?.on('data', (chunk) => (this.errors += String(chunk)));
    this.closed = once(this.child, 'close');
  }
  async answer(): Promise<void> {
    const failed = this.closed.then(([code]) =>
      Promise.reject(new Error(`ended with ${String(code)}: ${this.errors}`)),
    );
    await Promise.race([once(this.child, 'message'), failed]);
  }
  async ask(what: object): Promise<void> {
    const answer = this.answer();
    this.child.send(what);
    await answer;
  }
  async end(): Promise<void> {
    this.child.send({ end: true });
    const [code] = await this.closed;
    if (code !== 0) throw new Error(`ended with ${String(code)}: ${this.errors}`);
  }
}

function pick<T>(list: readonly T[]): T {
  const one = list[Math.floor(Math.random() * list.length)];
  if (one === undefined) throw new Error('an empty list');
  return one;
}

/** What a copy saw is told by its ETag where S3 tells nothing else. */
function seen(entries: Entry[]): Entry[] {
  const values = new Map(entries.flatMap(({ wrote, etag }) => (wrote !== undefined && etag ? [[etag, wrote]] : [])));
  for (const entry of entries) {
    const value = values.get(entry.etag ?? '');
    if (entry.what === 'copy' && value !== undefined) entry.saw ??= value;
  }
  return entries;
}

function pairOf({ key }: Entry): string {
  return key.slice(0, key.indexOf('/'));
}

/** Answers that no history explains: mixed objects, errors without a reason. */
function strange(entries: Entry[]): Entry[] {
  const known = ['NoSuchKey', 'PreconditionFailed', 'OperationAborted'];
  const found = entries.filter(({ failed }) => failed !== undefined && !known.includes(failed));
  return [...new Map(found.map((entry) => [`${entry.what} ${entry.failed} ${kindOf(entry)}`, entry])).values()];
}

/** The message without what differs from one to the next. */
function kindOf({ message = '' }: Entry): string {
  return message.replace(/[\d]+|'[^']*'|[0-9a-f]{32}/g, '#').slice(0, 60);
}

function tally(entries: Entry[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { what, failed } of entries) {
    if (failed === undefined) continue;
    const name = `${what} ${failed}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** What an entry says of the keys. An operation that lost all its races (OperationAborted) has done nothing and says nothing. */
function stepsOf(entry: Entry): Step[] {
  const { what, key, to, saw, wrote, match, absent, existed, failed } = entry;
  const base = { call: entry.call, return: entry.return, label: JSON.stringify({ ...entry, call: 0, return: 0 }) };
  if (failed === 'OperationAborted') return [];
  if (failed === 'NoSuchKey') return [{ ...base, needs: { [key]: undefined } }];
  if (failed === 'PreconditionFailed') return [{ ...base, needs: { [key]: match === undefined ? ANY : not(match) } }];
  switch (what) {
    case 'read':
    case 'head':
      return [{ ...base, needs: { [key]: saw } }];
    case 'put':
    case 'create':
    case 'replace': {
      const needs = absent === true ? { [key]: undefined } : match === undefined ? {} : { [key]: match };
      return [{ ...base, needs, writes: { [key]: wrote } }];
    }
    case 'remove':
    case 'removeIf':
      if (existed === undefined)
        return [{ ...base, needs: match === undefined ? {} : { [key]: match }, writes: { [key]: undefined } }];
      if (!existed) return [{ ...base, needs: { [key]: undefined } }];
      return [{ ...base, needs: { [key]: match ?? ANY }, writes: { [key]: undefined } }];
    case 'copy': {
      // CopyObject promises no single moment: it reads, then it writes
      const first = { ...base, needs: { [key]: saw } };
      return [first, { ...base, writes: { [to]: saw }, after: first }];
    }
    case 'move':
      return [{ ...base, needs: { [key]: saw }, writes: { [key]: undefined, [to]: saw } }];
  }
}

/** A read in the last third sees what was there in the first. */
function spoilt(steps: Step[]): Step[] {
  const reads = steps.filter(({ needs, writes }) => !writes && typeof Object.values(needs ?? {})[0] === 'string');
  reads.sort((a, b) => a.call - b.call);
  const early = reads[Math.floor(reads.length / 6)];
  const late = reads[Math.floor(reads.length * 0.8)];
  if (!early?.needs || !late?.needs) throw new Error('too few reads');
  const [old] = Object.values(early.needs);
  const [key = ''] = Object.keys(late.needs);
  return steps.map((step) => (step === late ? Object.assign(late, { needs: { [key]: old } }) : step));
}
