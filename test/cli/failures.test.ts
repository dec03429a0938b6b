import { describe, expect, it } from 'vitest';
import { describe as lineOf } from '../../src/cli/failures.js';

describe('what a command says of what failed', () => {
  it.each(['ENOSPC', 'EDQUOT'])('names cause and way out of %s', (code) => {
    const error = Object.assign(new Error(`${code}: it finds no room, write`), { code });
    expect(lineOf(error)).toBe(
      `a disk is full, or a quota is used up (${code}: it finds no room, write); make room and try again`,
    );
  });
});
