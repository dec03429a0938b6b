import { expect, it } from 'vitest';
import { free } from '../../src/base/memory.js';

it('frees a buffer that has its memory to itself, at once', () => {
  const bytes = Buffer.allocUnsafeSlow(1 << 20);
  free(bytes);
  expect(bytes.length).toBe(0);
  // memory that never was freed would be gigabytes
  const before = process.memoryUsage().external;
  for (let i = 0; i < 20_000; i++) free(Buffer.allocUnsafeSlow(1 << 18));
  expect(process.memoryUsage().external - before).toBeLessThan(64 << 20);
});

it('leaves alone what is a piece of something larger, what is small, and what others see', () => {
  const whole = Buffer.alloc(1 << 20, 'x');
  const shared = Buffer.from(new SharedArrayBuffer(1 << 20));
  const small = Buffer.alloc(1024, 'x');
  for (const bytes of [whole.subarray(1), whole.subarray(0, 1 << 19), shared, small]) {
    const { length } = bytes;
    free(bytes);
    expect(bytes.length).toBe(length);
  }
  expect(whole.every((byte) => byte === 0x78)).toBe(true);
});
