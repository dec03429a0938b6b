/** How verification looks to a person. */
import type { VerifyReport } from '../jobs/verify.js';
import type { Verdict } from '../store/verify.js';
import { count, humanSize, printable } from './output.js';

type Damage = Extract<Verdict, { state: 'damaged' | 'unreadable' }>;

export function damageLine(name: string, verdict: Damage): string {
  if (verdict.state === 'unreadable') return `unreadable  ${printable(name)}: the system answers ${verdict.error}`;
  const { what, recorded, read, partNumber } = verdict;
  const part = partNumber === undefined ? '' : ` of part ${partNumber}`;
  return `damaged  ${printable(name)}: ${what}${part} was ${recorded}, the bytes read give ${read}`;
}

export function resultLine({ objects, bytes, damaged, unreadable, closed, changed, left }: VerifyReport): string {
  const parts = [`${count(objects, 'object')} read, ${humanSize(bytes)}`];
  parts.push(damaged === 0 ? 'none damaged' : `${count(damaged, 'object')} DAMAGED`);
  if (unreadable > 0) parts.push(`${count(unreadable, 'object')} UNREADABLE`);
  if (closed > 0) parts.push(`${count(closed, 'folder')} UNREADABLE`);
  if (changed > 0) parts.push(`${count(changed, 'object')} changed by other programs meanwhile`);
  if (left > 0) parts.push(`${count(left, 'object')} left for the next run`);
  return parts.join('; ');
}

/** @param ms since the start. */
export function progressLine(state: VerifyReport & { due: number; dueBytes: number }, ms: number): string {
  const perSecond = state.bytes / Math.max(ms / 1000, 0.001);
  const seconds = Math.max(0, state.dueBytes - state.bytes) / Math.max(perSecond, 1);
  const share = state.dueBytes === 0 ? 100 : Math.min(100, (state.bytes / state.dueBytes) * 100);
  return (
    `${share.toFixed(0)}%  ${state.objects.toLocaleString('en')} of ${state.due.toLocaleString('en')} objects, ` +
    `${humanSize(state.bytes)}, ${humanSize(perSecond)}/s, ${clock(seconds)} to go`
  );
}

/** `1:05:09` or `5:09`. */
export function clock(seconds: number): string {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number): string => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}
