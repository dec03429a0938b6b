/**
 * Which process made something, and whether it still lives. A pid alone says nothing: it is used again, and means another process in
 * another container; so it goes with its start time, its namespace and the boot of the machine.
 */
import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname, uptime } from 'node:os';
import { errno } from './errors.js';

export interface ProcessIdentity {
  pid: number;
  /** Start in clock ticks since boot, where the system tells. */
  start: string | undefined;
  boot: string;
  /** Of the pids. */
  namespace: string;
}

/** Names the boot of this machine. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    // Without procfs the minute of the boot has to do; if the clock was set since, the heartbeat decides.
    return `${hostname()}-${Math.round((Date.now() / 1000 - uptime()) / 60)}`;
  }
}

export function namespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return hostname();
  }
}

/** Of /proc/<pid>/stat: field 3, the state, and field 22, the start; the name in field 2 may itself hold spaces and parentheses. */
function statOf(pid: number): { state: string; start: string | undefined } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0] ?? '', start: fields[19] };
  } catch {
    return undefined;
  }
}

export function startOf(pid: number): string | undefined {
  return statOf(pid)?.start;
}

/** What the process table says: certain for processes of our own boot and namespace only. */
export function processState(one: ProcessIdentity): 'alive' | 'dead' | 'present' | 'unknown' {
  if (one.pid <= 0 || one.boot !== bootId() || one.namespace !== namespace()) return 'unknown';
  try {
    process.kill(one.pid, 0);
  } catch (error) {
    if (errno(error) === 'ESRCH') return 'dead';
  }
  const stat = statOf(one.pid);
  // Z, X: it has ended, and its parent has not asked how (proc(5)); the first process of a container may never do so.
  if (stat !== undefined && /^[ZXx]/.test(stat.state)) return 'dead';
  // Without procfs the pid may be another process by now.
  if (one.start === undefined) return 'present';
  return stat?.start === one.start ? 'alive' : 'dead';
}

let own: string | undefined;

/** Names this process in file names: `<place>.<pid>.<start>`; place is a digest of boot and namespace. */
export function processToken(): string {
  own ??= `${place()}.${process.pid}.${startOf(process.pid) ?? '0'}`;
  return own;
}

/**
 * Whether the process that a token names still lives; of another container or another host nobody can say, so only there `age` (ms since
 * the thing was last touched) decides: a day.
 */
export function tokenAlive(token: string, age: number): boolean {
  const [where, pid, start] = token.split('.');
  if (where === undefined || pid === undefined || start === undefined) return false;
  if (token === processToken()) return true;
  if (where !== place()) return age < 86_400_000;
  const state = processState({
    pid: Number(pid),
    start: start === '0' ? undefined : start,
    boot: bootId(),
    namespace: namespace(),
  });
  return state !== 'dead';
}

function place(): string {
  return createHash('md5').update(`${bootId()} ${namespace()}`).digest('hex').slice(0, 8);
}

const sleeping = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this process. */
export function sleepSync(ms: number): void {
  Atomics.wait(sleeping, 0, 0, ms);
}
