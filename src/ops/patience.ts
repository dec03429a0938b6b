/** Keeps a client waiting through a long operation: white space now and then, the answer in the end. */
import type { OpContext } from './types.js';

/** Ms: below the 60 s after which clients and proxies commonly give up. */
const PATIENCE = 10_000;

/**
 * Runs `work`; when it takes longer than 10 s, sends status 200 and white space every 10 s (S3 does so for CopyObject,
 * UploadPartCopy and CompleteMultipartUpload). `tick` is for work that blocks the timers.
 */
export async function patiently<T>(ctx: OpContext, work: (tick: () => void) => Promise<T>): Promise<T> {
  let last = performance.now();
  const send = (): void => {
    last = performance.now();
    ctx.keepAlive();
  };
  const tick = (): void => {
    if (performance.now() - last >= PATIENCE) send();
  };
  // Not tick: a timer that fires a moment early would leave its round out, and the client would wait for two.
  const timer = setInterval(send, PATIENCE);
  timer.unref();
  try {
    return await work(tick);
  } finally {
    clearInterval(timer);
  }
}
