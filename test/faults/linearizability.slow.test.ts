/**
 * 100 clients in 4 processes, each with a store of its own on one root, work on 10 keys: puts, conditional puts and deletes, copies, moves.
 * Every history must be linearizable (linear.ts). Keys come in pairs, and moves stay within a pair, so each pair is checked by itself
 * (Herlihy and Wing: a history is linearizable if that of each of its objects is).
 *
 * 60 clients for 4 s; with GOS3RVE_FULL=1 10 runs of 60 s.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/open.js';
import { BUCKET } from '../suites/store/kit.js';
import { ANY, checkHistory, not, type Step, type Verdict } from './linear.js';

const DOOR = path.resolve(import.meta.dirname, '../../dist/store/open.js');
const CLIENT = path.join(import.meta.dirname, 'linear-client.js');
const FULL = process.env.GOS3RVE_FULL === '1';
const RUNS = FULL ? 10 : 1;
const SECONDS = FULL ? 60 : 4;
const PROCESSES = 4;
const CLIENTS = FULL ? 100 : 60;
/** Histories of so many operations at once that no order is found in time decide nothing: another is recorded then. */
const ATTEMPTS = 3;

interface Entry {
  what: 'read' | 'head' | 'put' | 'create' | 'replace' | 'remove' | 'removeIf' | 'copy' | 'move';
  key: string;
  to: string;
  call: number;
  return: number;
  /** The value in the object read, copied or moved. */
  saw?: string;
  wrote?: string;
  /** If-Match of the ETag of this value. */
  match?: string;
  /** If-None-Match: *. */
  absent?: boolean;
  existed?: boolean;
  failed?: string;
  message?: string;
}

describe.skipIf(!existsSync(DOOR))(`${CLIENTS} clients in 4 processes on 10 keys`, () => {
  it.each(Array.from({ length: RUNS }, (_, i) => i + 1))('are linearizable, run %i', async () => {
    for (let attempt = 1; ; attempt++) {
      const verdict = await judge();
      if (verdict.outcome === 'undecided' && attempt < ATTEMPTS) continue;
      expect([verdict.outcome, verdict.stuck]).toEqual(['linearizable', []]);
      console.log(JSON.stringify({ ...verdict.counts, attempt }));
      return;
    }
  });
});

/** Records a history and looks for an order. */
async function judge(): Promise<Pick<Verdict, 'outcome' | 'stuck'> & { counts: object }> {
  const base = await mkdtemp(path.join(os.tmpdir(), 'gos3rve-linear-'));
  try {
    const entries = await record(base, path.join(base, 'root'));
    expect(strange(entries)).toEqual([]);
    const counts = { operations: entries.length, configurations: 0, failed: tally(entries) };
    let undecided: Verdict | undefined;
    for (const pair of new Set(entries.map(pairOf))) {
      const steps = entries.filter((entry) => pairOf(entry) === pair).flatMap(stepsOf);
      const verdict = checkHistory(steps);
      counts.configurations += verdict.configurations;
      if (verdict.outcome === 'violation') return { ...verdict, counts };
      if (verdict.outcome === 'undecided') undecided = verdict;
      // the same history with one wrong answer in it finds no order (that there is none would take long to prove)
      else expect(checkHistory(spoilt(steps), {}, 50_000).outcome).not.toBe('linearizable');
    }
    return { ...(undecided ?? { outcome: 'linearizable', stuck: [] }), counts };
  } finally {
    // GOS3RVE_KEEP=1 leaves the histories to look at
    if (process.env.GOS3RVE_KEEP !== '1') await rm(base, { recursive: true, force: true });
  }
}

async function record(base: string, root: string): Promise<Entry[]> {
  await mkdir(root);
  const store = await openStore(root);
  await store.createBucket(BUCKET, {});
  await store.close();
  const files = Array.from({ length: PROCESSES }, (_, i) => path.join(base, `history-${i}`));
  await Promise.all(
    files.map(async (file, i) => {
      const args = [CLIENT, DOOR, root, BUCKET, `w${i}`, String(SECONDS), String(CLIENTS / PROCESSES), file];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let errors = '';
      child.stderr.on('data', (chunk) => (errors += String(chunk)));
      const [code] = (await once(child, 'close')) as [number | null];
      if (code !== 0) throw new Error(`process ${i} ended with ${code}: ${errors}`);
    }),
  );
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return texts.flatMap((text) => text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Entry])));
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
      if (existed !== true) return [{ ...base, needs: { [key]: undefined } }];
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
