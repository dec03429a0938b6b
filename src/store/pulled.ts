/** Turns a reader that hands out chunks into one that is asked for them, so that the pace is that of whoever asks. */

type Sink = (chunk: Buffer) => Promise<void> | void;

/**
 * @param read hands chunks to its sink, each valid until the sink's promise resolves; what it throws ends the reading.
 * @returns the chunks, each valid until the next one is asked for.
 */
export async function* pulled(read: (sink: Sink) => Promise<void>): AsyncGenerator<Uint8Array> {
  let taken: () => void = () => undefined;
  let given: (chunk: Buffer | undefined) => void = () => undefined;
  let stopped = false;
  let next = new Promise<Buffer | undefined>((resolve) => (given = resolve));
  const work = read(async (chunk) => {
    if (stopped) throw new Error('nobody reads on');
    const asked = new Promise<void>((resolve) => (taken = resolve));
    given(chunk);
    await asked;
  }).finally(() => given(undefined));
  // it is awaited below
  work.catch(() => undefined);
  try {
    for (;;) {
      const chunk = await next;
      if (!chunk) break;
      next = new Promise<Buffer | undefined>((resolve) => (given = resolve));
      yield chunk;
      taken();
    }
    await work;
  } finally {
    stopped = true;
    taken();
    await work.catch(() => undefined);
  }
}
