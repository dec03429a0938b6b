/**
 * MD5 of four messages at once, as WebAssembly with SIMD: RFC 1321, section 3.4, each step of which is done on four words, one of each message. The steps of
 * one message wait for each other, so that four together take little longer than one.
 *
 * The module is put together here, as nothing but its 64 steps would be worth a compiler: numbers are those of the binary format
 * (WebAssembly Core Specification 2.0, chapter 5).
 */

export const LANES = 4;
export const BLOCK_BYTES = 64;
/** Of each message that fit in memory at a time. */
export const WINDOW_BYTES = 16 << 10;
const WORD_BYTES = 16;
/** A, B, C, D, each of four messages. */
const STATE = LANES * WINDOW_BYTES;
const CONSTANTS = STATE + 4 * WORD_BYTES;
/** The words of the block, each of four messages. */
const WORDS = CONSTANTS + 64 * WORD_BYTES;
const PAGES = 2;

const SHIFTS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
] as const;
/** Which word a step takes: this times its number, and this more. */
const WORD_OF_STEP = [
  [1, 0],
  [5, 1],
  [3, 5],
  [7, 0],
] as const;

/** The types of Node leave it out. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object;
  Instance: new (module: object) => { exports: unknown };
};

interface Exports {
  memory: { buffer: ArrayBuffer };
  run: (position: number, end: number) => void;
}

export interface Md5Lanes {
  /** Message `lane` begins at `lane * WINDOW_BYTES`. */
  window: Buffer;
  /** Word `i` of message `lane` at `i * LANES + lane`. */
  state: Uint32Array;
  /** Takes `bytes` of each message, a positive multiple of {@link BLOCK_BYTES}, into the state. */
  run(bytes: number): void;
}

/** @throws CompileError where there is no SIMD. */
export function md5Lanes(): Md5Lanes {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()));
  const { memory, run } = exports as Exports;
  const constants = new Uint32Array(memory.buffer, CONSTANTS, 64 * LANES);
  for (let i = 0; i < 64; i++)
    constants.fill(Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32), i * LANES, (i + 1) * LANES);
  return {
    window: Buffer.from(memory.buffer, 0, STATE),
    state: new Uint32Array(memory.buffer, STATE, 4 * LANES),
    run: (bytes) => run(0, bytes),
  };
}

// what the function has: i32 position and end, then v128
const [POSITION, END, A, SAVED, ROWS, PAIRS, SUM] = [0, 1, 2, 6, 10, 14, 18] as const;
const VECTORS = 17;
const [I32, V128] = [0x7f, 0x7b];

type Code = number[];
const simd = (number: number): Code => [0xfd, ...unsigned(number)];
const get = (local: number): Code => [0x20, local];
const set = (local: number): Code => [0x21, local];
const tee = (local: number): Code => [0x22, local];
const i32 = (value: number): Code => [0x41, ...signed(value)];
const load = (offset: number): Code => [...simd(0), 4, ...unsigned(offset)];
const store = (offset: number): Code => [...simd(11), 4, ...unsigned(offset)];
/** Of the words of two vectors, 0 to 3 and 4 to 7, these four. */
const shuffle = (...words: number[]): Code => [
  ...simd(13),
  ...words.flatMap((w) => [4 * w, 4 * w + 1, 4 * w + 2, 4 * w + 3]),
];
const NOT = simd(77);
const AND_OR_BY_MASK = simd(82);
const OR = simd(80);
const XOR = simd(81);
const ADD = simd(174);
const SHIFT_LEFT = simd(171);
const SHIFT_RIGHT = simd(173);

function moduleBytes(): Uint8Array<ArrayBuffer> {
  const body = [...list([[VECTORS, V128]]), ...blocks(), 0x0b];
  const name = (text: string): Code => [text.length, ...Buffer.from(text)];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [[0x60, ...list([[I32], [I32]]), ...list([])]]),
    ...section(3, [[0]]),
    ...section(5, [[0, PAGES]]),
    ...section(7, [
      [...name('memory'), 2, 0],
      [...name('run'), 0, 0],
    ]),
    ...section(10, [[...unsigned(body.length), ...body]]),
  ]);
}

function blocks(): Code {
  const state = [0, 1, 2, 3];
  return [
    ...state.flatMap((i) => [...i32(0), ...load(STATE + i * WORD_BYTES), ...set(A + i)]),
    ...[0x03, 0x40],
    ...[0, 1, 2, 3].flatMap(wordsOf),
    ...state.flatMap((i) => [...get(A + i), ...set(SAVED + i)]),
    ...Array.from({ length: 64 }, (_, i) => step(i)).flat(),
    ...state.flatMap((i) => [...get(A + i), ...get(SAVED + i), ...ADD, ...set(A + i)]),
    // the next block, if there is one
    ...[...get(POSITION), ...i32(BLOCK_BYTES), 0x6a, ...tee(POSITION), ...get(END), 0x49, 0x0d, 0, 0x0b],
    ...state.flatMap((i) => [...i32(0), ...get(A + i), ...store(STATE + i * WORD_BYTES)]),
  ];
}

/** Four words of each message: from message by message to word by word. */
function wordsOf(quarter: number): Code {
  const row = (lane: number): Code => [
    ...get(POSITION),
    ...load(lane * WINDOW_BYTES + quarter * WORD_BYTES),
    ...set(ROWS + lane),
  ];
  const pair = (at: number, first: number, ...words: number[]): Code => [
    ...[...get(ROWS + first), ...get(ROWS + first + 1), ...shuffle(...words), ...set(PAIRS + at)],
  ];
  const word = (i: number, from: number, ...words: number[]): Code => [
    ...[...i32(0), ...get(PAIRS + from), ...get(PAIRS + from + 1), ...shuffle(...words)],
    ...store(WORDS + (4 * quarter + i) * WORD_BYTES),
  ];
  return [
    ...[0, 1, 2, 3].flatMap(row),
    ...[...pair(0, 0, 0, 4, 1, 5), ...pair(1, 2, 0, 4, 1, 5), ...pair(2, 0, 2, 6, 3, 7), ...pair(3, 2, 2, 6, 3, 7)],
    ...[...word(0, 0, 0, 1, 4, 5), ...word(1, 0, 2, 3, 6, 7), ...word(2, 2, 0, 1, 4, 5), ...word(3, 2, 2, 3, 6, 7)],
  ];
}

/** a = b + ((a + f(b, c, d) + word + constant) rotated); then each of the four has the place of the next. */
function step(i: number): Code {
  const round = i >> 4;
  const [times, more] = WORD_OF_STEP[round] ?? [0, 0];
  const shift = SHIFTS[round]?.[i % 4] ?? 0;
  const [a, b, c, d] = [0, 1, 2, 3].map((place) => get(A + ((place - i) & 3))) as [Code, Code, Code, Code];
  const f = [
    [...c, ...d, ...b, ...AND_OR_BY_MASK],
    [...b, ...c, ...d, ...AND_OR_BY_MASK],
    [...b, ...c, ...XOR, ...d, ...XOR],
    [...d, ...NOT, ...b, ...OR, ...c, ...XOR],
  ][round];
  return [
    ...[...a, ...i32(0), ...load(WORDS + ((i * times + more) % 16) * WORD_BYTES), ...ADD],
    ...[...i32(0), ...load(CONSTANTS + i * WORD_BYTES), ...ADD, ...(f ?? []), ...ADD, ...tee(SUM)],
    ...[...i32(shift), ...SHIFT_LEFT, ...get(SUM), ...i32(32 - shift), ...SHIFT_RIGHT, ...OR],
    ...[...b, ...ADD, ...set(A + (-i & 3))],
  ];
}

function section(number: number, items: Code[]): Code {
  const body = list(items);
  return [number, ...unsigned(body.length), ...body];
}

function list(items: Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

/** LEB128. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

/** Of a number that is not negative. */
function signed(value: number): Code {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}
