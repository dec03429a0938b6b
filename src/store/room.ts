/**
 * `--min-free`: uploads may not leave less room than that. A body under way counts whole, from its announced length on, until it lies on the
 * disk: else many that begin at once would each find the room that there is. Other processes' bodies count as far as they are written, and so
 * the room is looked at again while a body comes in.
 */
import { fstatSync, statSync, statfsSync } from 'node:fs';
import { S3Error, errno } from '../base/errors.js';
import type { Body } from '../base/model.js';
import { Seen } from '../base/turn.js';

/** A body looks again after so many bytes. */
const LOOK_BYTES = 4 << 20;
/** What is gathered or being written: of a body's last bytes statfs(2) does not know yet. */
const UNSEEN_BYTES = 2 << 20;

/** A file that the system copies to. */
interface Filled {
  dev: number;
  /** Bytes that it will have. */
  size: number;
  fd: number | undefined;
}

export class Room {
  /** Device -> bytes that are announced and not written yet. */
  private readonly announced = new Map<number, number>();
  private readonly filled = new Set<Filled>();
  /** By device: bytes that a look in this turn has left, less what was let in since. */
  private readonly seen = new Seen<{ left: number }>();

  /**
   * @param minFree bytes; undefined or 0: nothing is refused.
   * @param free bytes that are free where a directory lies.
   */
  constructor(
    private readonly minFree: number | undefined,
    private readonly free = freeBytes,
  ) {}

  /** @throws InsufficientStorage if `size` more bytes would leave less than --min-free. */
  check(directory: string, size: number): void {
    if (this.least === 0) return;
    this.checkDevice(directory, statSync(directory).dev, size);
  }

  /**
   * Runs `work` on a body whose bytes go to `directory` (on device `dev`), with room set aside for them.
   * @throws InsufficientStorage before the first byte is read, or as soon as others have taken the room.
   */
  async during<T>(
    directory: string,
    body: Body,
    work: (body: Body) => Promise<T>,
    dev = this.least === 0 ? 0 : statSync(directory).dev,
  ): Promise<T> {
    if (this.least === 0) return work(body);
    let left = body.size ?? 0;
    this.checkDevice(directory, dev, left);
    this.add(dev, left);
    const written = (bytes: number): void => {
      const now = Math.max(0, left - bytes);
      this.add(dev, now - left);
      left = now;
    };
    try {
      // too short to be looked at again
      if (left > 0 && left <= UNSEEN_BYTES) return await work(body);
      return await work({ ...body, chunks: this.watched(body, () => this.lookAgain(directory, dev), written) });
    } finally {
      this.add(dev, -left);
    }
  }

  /**
   * Runs `work` that writes `size` bytes to `directory` unseen (a copy, a joining of parts), with room set aside until it has ended.
   * @param work is given what to call with the number of bytes that it has written since; or with the file that the system fills, which is then looked at.
   * @throws InsufficientStorage before it begins.
   */
  async writing<T>(
    directory: string,
    size: number,
    work: (wrote: (bytes: number) => void, fills: (fd: number) => void) => Promise<T>,
  ): Promise<T> {
    if (this.least === 0)
      return work(
        () => undefined,
        () => undefined,
      );
    const { dev } = statSync(directory);
    let left = size;
    const filled: Filled = { dev, size, fd: undefined };
    const fills = (fd: number): void => {
      wrote(left);
      filled.fd = fd;
      this.filled.add(filled);
    };
    this.checkDevice(directory, dev, left);
    this.add(dev, left);
    const wrote = (bytes: number): void => {
      const now = Math.max(0, left - bytes);
      this.add(dev, now - left);
      left = now;
    };
    try {
      return await work(wrote, fills);
    } finally {
      this.filled.delete(filled);
      this.add(dev, -left);
    }
  }

  private async *watched(
    { chunks }: Body,
    look: () => void,
    written: (bytes: number) => void,
  ): AsyncGenerator<Uint8Array> {
    let unseen = 0;
    let sinceLook = 0;
    for await (const chunk of chunks) {
      if ((sinceLook += chunk.byteLength) >= LOOK_BYTES) {
        sinceLook = 0;
        look();
      }
      yield chunk;
      unseen += chunk.byteLength;
      if (unseen <= UNSEEN_BYTES) continue;
      written(unseen - UNSEEN_BYTES);
      unseen = UNSEEN_BYTES;
    }
  }

  private lookAgain(directory: string, dev: number): void {
    try {
      this.checkNow(directory, dev, 0);
    } catch (error) {
      // the folder went: the write itself will say so
      if (errno(error) !== 'ENOENT') throw error;
    }
  }

  /** Looks once for all that begin in this turn, unless they come near the limit. */
  private checkDevice(directory: string, dev: number, size: number): void {
    const seen = this.seen.get(String(dev), () => ({ left: this.left(directory, dev) }));
    seen.left -= size;
    if (seen.left < this.least) this.checkNow(directory, dev, size);
  }

  private checkNow(directory: string, dev: number, size: number): void {
    if (this.left(directory, dev) - size >= this.least) return;
    throw new S3Error('InsufficientStorage', 'The upload would leave less free space than --min-free asks for.');
  }

  /** Bytes that are free and not announced. */
  private left(directory: string, dev: number): number {
    let announced = this.announced.get(dev) ?? 0;
    for (const one of this.filled) if (one.dev === dev) announced += unfilled(one);
    return this.free(directory) - announced;
  }

  private add(dev: number, bytes: number): void {
    const now = (this.announced.get(dev) ?? 0) + bytes;
    if (now > 0) this.announced.set(dev, now);
    else this.announced.delete(dev);
  }

  private get least(): number {
    return Math.max(0, this.minFree ?? 0);
  }
}

function freeBytes(directory: string): number {
  const { bavail, bsize } = statfsSync(directory);
  return bavail * bsize;
}

/** Bytes of a copy that are not there yet. */
function unfilled({ size, fd }: Filled): number {
  try {
    return fd === undefined ? size : Math.max(0, size - fstatSync(fd).blocks * 512);
  } catch {
    // it was just closed
    return 0;
  }
}
