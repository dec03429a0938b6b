/** Garbage collection: everything that is left over and harms nobody, in one run (issue *live tree*). The user's files are never touched. */
import type { Collector, CollectOptions } from '../store/collect/collector.js';

export interface GcQuestion extends CollectOptions {
  /** Uploads that nobody has touched for so long (ms) are ended. */
  olderThan: number;
  /** What is known of a file is kept for so long (ms) after it is gone. */
  keepGone: number;
}

export interface GcReport {
  /** Another process collects: nothing was done. */
  busy: boolean;
  uploads: number;
  staging: number;
  /** Overflow objects that moved to their path. */
  settled: number;
  /** Overflow objects that had been put aside by mistake, and came back. */
  returned: number;
  /** Files without a record, put aside. */
  quarantined: number;
  /** Files that were found to be gone, and those whose facts were dropped. */
  missing: number;
  forgotten: number;
  directories: number;
  /** Journal segments that went, their bytes, and the bytes of the one that stands for them. */
  segments: number;
  segmentBytes: number;
  journalBytes: number;
}

/** @throws ServiceUnavailable if the root's disk is gone, AccessDenied on a read-only store; what `signal` was aborted with. */
export async function gc(collector: Collector, question: GcQuestion): Promise<GcReport> {
  const report: GcReport = {
    busy: false,
    uploads: 0,
    staging: 0,
    returned: 0,
    settled: 0,
    quarantined: 0,
    missing: 0,
    forgotten: 0,
    directories: 0,
    segments: 0,
    segmentBytes: 0,
    journalBytes: 0,
  };
  // whoever only looks is in nobody's way, and writes nothing
  const claim = async (): Promise<boolean> => question.dryRun || (await collector.claim());
  if (!(await claim())) return { ...report, busy: true };
  try {
    const now = Date.now();
    for (const step of STEPS) {
      question.signal.throwIfAborted();
      await step(collector, question, report, now);
      // renewed: another process may have taken it over while this machine slept
      if (!(await claim())) break;
    }
    return report;
  } finally {
    if (!question.dryRun) collector.release();
  }
}

type Step = (collector: Collector, question: GcQuestion, report: GcReport, now: number) => Promise<void>;

const STEPS: readonly Step[] = [
  async (collector, question, report, now) => {
    report.uploads = await collector.uploads(now - question.olderThan, question);
    report.staging = await collector.staging(question);
  },
  async (collector, question, report) => {
    report.returned = await collector.returned(question);
    report.settled = (await collector.overflow(question)).settled;
    report.quarantined = await collector.strays(question);
  },
  async (collector, question, report, now) => {
    const { missing, dropped } = await collector.ghosts(now - question.keepGone, question);
    report.missing = missing;
    report.forgotten = dropped;
    report.directories = await collector.directories(question);
  },
  async (collector, question, report) => {
    const { segments, bytes, size } = await collector.journal(question.keepGone, question);
    Object.assign(report, { segments, segmentBytes: bytes, journalBytes: size });
  },
];

/** Whether anything was done, or would be. */
export function didSomething({ busy: _busy, missing: _missing, journalBytes: _size, ...done }: GcReport): boolean {
  return Object.values(done).some((value) => value > 0);
}
