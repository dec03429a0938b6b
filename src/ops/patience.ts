/** Keeps a client waiting through a long operation: white space now and then, the answer in the end. */
import type { OpContext } from './types.js';

/** Ms: below the 60 s after which clients and proxies commonly give up. */
const PATIENCE = 10_000;

/**
 * Runs `work`; when it takes longer than 10 s, sends status 200 and white space every 10 s (S3 does so for CopyObject,
 * UploadPartCopy and CompleteMultipartUpload). `tick` is for work that blocks the timers.
 */
export async function patiently<T>(ctx: OpContext, work: (tick: () => void) => Promise<T>): Promise<T> {
  let last = Date.now();
  const tick = (): void => {
    if (Date.now() - last < PATIENCE) return;
    last = Date.now();
    ctx.keepAlive();
  };
  const timer = setInterval(tick, PATIENCE);
  timer.unref();
  try {
    return await work(tick);
  } finally {
    clearInterval(timer);
  }
}
