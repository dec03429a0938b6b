import { describe, expect, it } from 'vitest';
import { stateName } from '../../src/store/core.js';

describe('stateName', () => {
  it('gives no two folders one name, and none that is too long', () => {
    const long = '\u5199\u771f'.repeat(40);
    const folders = [
      'photos',
      'Photos',
      '.',
      '..',
      '.x',
      'a/b',
      'a%2Fb',
      'a*',
      'x'.repeat(200),
      'x'.repeat(201),
      'x'.repeat(255),
    ];
    folders.push(...['a', 'b', 'a/b', 'a%2Fb'].map((end) => long + end));
    folders.push(stateName(`${long}a`));
    const names = folders.map(stateName);
    expect(new Set(names).size).toBe(folders.length);
    for (const name of names) {
      expect(Buffer.byteLength(`${name}.json.tmp`)).toBeLessThan(256);
      expect(name).toMatch(/^[^./*][^/*]*$/);
    }
  });
});
