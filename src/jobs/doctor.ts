/**
 * The doctor: looks at a root, its state and its machine for what could go wrong, and tells the cure of each (issue *live tree*). Changes nothing, and
 * leaves nothing behind: a probe file of its own goes at once.
 */
import { join } from 'node:path';
import { STATE_DIR } from '../fs/keypath.js';
import { whyUnwritable } from '../fs/state-dir.js';
import type { LocalStore } from '../store/local.js';
import { examineRoom, examineWriting } from './doctor/disk.js';
import type { Finding, Report } from './doctor/finding.js';
import { examineBuckets, examineOverflow, examineState } from './doctor/state.js';
import { examineMounts, examineNode, examineWatches } from './doctor/system.js';
import { examineTree, type TreeQuestion, type TreeSummary } from './doctor/tree.js';

export type { Finding, Level } from './doctor/finding.js';

export interface DoctorQuestion extends TreeQuestion {
  stateDir: string;
  readOnly: boolean;
  /** Absent where nothing is kept of the root yet, or where that cannot be opened. */
  store?: LocalStore | undefined;
}

/** Runs all checks. A check that cannot be run is a finding too. @throws what `signal` was aborted with. */
export async function examine(question: DoctorQuestion, report: (finding: Finding) => void): Promise<TreeSummary> {
  const { root, stateDir, store } = question;
  attempt('node', report, () => examineNode(report));
  attempt('mounts', report, () => examineMounts(root, stateDir, report));
  attempt('free-space', report, () => examineRoom(root, report));
  const written = writtenTo(question);
  if (written !== undefined) attempt('flush', report, () => examineWriting(written, report));
  attempt('state', report, () => examineState(root, stateDir, report));
  if (store) attempt('overflow', report, () => examineOverflow(store, report));
  if (store) attempt('buckets', report, () => examineBuckets(store, stateDir, report));
  const summary = await examineTree(question, report);
  attempt('inotify', report, () => examineWatches(summary.directories, report));
  report({
    check: 'tree',
    level: 'ok',
    message: `${summary.files.toLocaleString('en')} files in ${summary.directories.toLocaleString('en')} directories`,
  });
  return summary;
}

/** Where bodies are staged, or the state if nothing else is written; the root itself as long as there is neither. */
function writtenTo({ root, stateDir, readOnly, store }: DoctorQuestion): string | undefined {
  if (!store) return readOnly ? undefined : root;
  if (readOnly) return stateDir;
  return whyUnwritable(root) === undefined ? join(root, STATE_DIR, 'staging') : root;
}

function attempt(check: string, report: Report, look: () => void): void {
  try {
    look();
  } catch (error) {
    report({
      check,
      level: 'problem',
      message: `could not be examined: ${error instanceof Error ? error.message : String(error)}`,
      cure: 'run it as the user that serves the directory',
    });
  }
}
