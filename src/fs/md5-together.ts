/**
 * MD5 of several bodies at once, in this thread: what has come of up to four is hashed in one go, which takes little longer than one (md5-wasm.ts). What comes
 * at one look at the network waits for the rest of it, and for those that are coming a moment at most.
 */
import { createHash, type Hash } from 'node:crypto';
import { BLOCK_BYTES, LANES, WINDOW_BYTES, md5Lanes, type Md5Lanes } from './md5-wasm.js';

/** A body's bytes wait no longer for those of others (ms). */
const PATIENCE_MS = 1;
const INITIAL = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476] as const;

/** What waits of one body. */
interface Piece {
  bytes: Uint8Array;
  /** How far it is hashed. */
  at: number;
  done: () => void;
}

/** MD5 of one body. */
export class Md5OfOne {
  readonly state = Uint32Array.from(INITIAL);
  /** The oldest first. */
  readonly pieces: Piece[] = [];
  /** The beginning of a block. */
  readonly rest = new Uint8Array(BLOCK_BYTES);
  restBytes = 0;
  /** Hashed so far. */
  bytes = 0;
  /** OpenSSL, which is fastest with one; but what it has begun it must end. */
  alone: Hash | undefined;

  constructor(private readonly together: Md5Together) {}

  /** Until it resolves the bytes must stay as they are. Calls need not wait for each other. */
  update(bytes: Uint8Array): Promise<void> {
    return new Promise((done) => {
      this.pieces.push({ bytes, at: 0, done });
      this.together.comes(this);
    });
  }

  /** Once, after all updates have resolved. */
  digest(): Buffer {
    this.drop();
    return this.alone?.digest() ?? this.together.digest(this);
  }

  /** It is given up. */
  drop(): void {
    this.together.leaves(this);
  }
}

export class Md5Together {
  private readonly open = new Set<Md5OfOne>();
  /** Of which something waits, in the order in which they came. */
  private readonly waiting = new Set<Md5OfOne>();
  private scheduled = false;

  private constructor(private readonly lanes: Md5Lanes) {}

  /** @returns undefined where WebAssembly has no SIMD. */
  static make(): Md5Together | undefined {
    try {
      return new Md5Together(md5Lanes());
    } catch {
      return undefined;
    }
  }

  openBody(): Md5OfOne {
    const one = new Md5OfOne(this);
    this.open.add(one);
    return one;
  }

  leaves(one: Md5OfOne): void {
    this.open.delete(one);
  }

  comes(one: Md5OfOne): void {
    this.waiting.add(one);
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => this.look(true));
  }

  digest(one: Md5OfOne): Buffer {
    const { rest, restBytes, bytes } = one;
    const tail = Buffer.alloc(restBytes + 9 > BLOCK_BYTES ? 2 * BLOCK_BYTES : BLOCK_BYTES);
    tail.set(rest.subarray(0, restBytes));
    tail[restBytes] = 0x80;
    tail.writeBigUInt64LE(BigInt(bytes) * 8n, tail.length - 8);
    this.run([one], tail.length, () => tail);
    const digest = Buffer.alloc(16);
    for (const [i, word] of one.state.entries()) digest.writeUInt32LE(word, 4 * i);
    return digest;
  }

  /** Hashes what waits. @param patient if it may wait for those that are coming. */
  private look(patient: boolean): void {
    for (const one of this.waiting) this.begin(one);
    const coming = (): boolean => patient && this.waiting.size < this.open.size;
    while (this.waiting.size >= LANES || (this.waiting.size > 0 && !coming())) this.hashSome();
    this.scheduled = this.waiting.size > 0;
    if (this.scheduled) setTimeout(() => this.look(false), PATIENCE_MS);
  }

  /** So much of those that wait longest as each of them has. */
  private hashSome(): void {
    const some = [...this.waiting].slice(0, LANES);
    const [first] = some;
    if (some.length === 1 && first?.bytes === 0 && first.restBytes === 0 && first.pieces[0]?.at === 0) {
      first.alone = createHash('md5');
      this.begin(first);
      return;
    }
    const bytes = Math.min(...some.map(blockBytesLeft));
    for (let done = 0; done < bytes; done += WINDOW_BYTES) {
      const now = Math.min(WINDOW_BYTES, bytes - done);
      this.run(some, now, ({ pieces: [piece] }) => piece?.bytes.subarray(piece.at, (piece.at += now)) ?? tooFew());
    }
    for (const one of some) this.settle(one);
  }

  /** @param bytesOf so many `bytes` of a body, whole blocks, no more than fit. */
  private run(bodies: readonly Md5OfOne[], bytes: number, bytesOf: (one: Md5OfOne) => Uint8Array): void {
    const { window, state } = this.lanes;
    for (const [lane, one] of bodies.entries()) {
      const at = lane * WINDOW_BYTES;
      // set() and copy() are slower where memory is shared: fill() is memcpy
      window.fill(bytesOf(one), at, at + bytes);
      for (const [i, word] of one.state.entries()) state[i * LANES + lane] = word;
    }
    this.lanes.run(bytes);
    for (const [lane, one] of bodies.entries())
      for (let i = 0; i < one.state.length; i++) one.state[i] = state[i * LANES + lane] ?? 0;
  }

  /** What can be hashed of it only alone. */
  private begin(one: Md5OfOne): void {
    const { alone, pieces } = one;
    if (!alone) {
      this.fillRest(one);
      this.settle(one);
      return;
    }
    for (const { bytes, done } of pieces.splice(0)) {
      alone.update(bytes);
      done();
    }
    this.waiting.delete(one);
  }

  /** What is no whole block is kept until more comes, and whoever gave it may have it back; so with the next pieces. */
  private settle(one: Md5OfOne): void {
    for (let piece = one.pieces[0]; piece && blockBytesLeft(one) === 0; piece = one.pieces[0]) {
      const left = piece.bytes.subarray(piece.at);
      if (left.length > 0) {
        one.rest.set(left);
        one.restBytes = left.length;
      }
      one.bytes += piece.bytes.length;
      one.pieces.shift();
      piece.done();
      this.fillRest(one);
    }
    if (one.pieces.length === 0) this.waiting.delete(one);
  }

  /** Completes the block that the last piece began, if it can. */
  private fillRest(one: Md5OfOne): void {
    const [piece] = one.pieces;
    if (!piece || one.restBytes === 0 || piece.at > 0) return;
    const taken = piece.bytes.subarray(0, BLOCK_BYTES - one.restBytes);
    one.rest.set(taken, one.restBytes);
    one.restBytes += taken.length;
    piece.at = taken.length;
    if (one.restBytes < BLOCK_BYTES) return;
    this.run([one], BLOCK_BYTES, () => one.rest);
    one.restBytes = 0;
  }
}

/** Of the oldest piece, whole blocks. */
function blockBytesLeft({ pieces: [piece] }: Md5OfOne): number {
  return piece ? (piece.bytes.length - piece.at) & -BLOCK_BYTES : 0;
}

function tooFew(): never {
  throw new Error('nothing waits of this body');
}
