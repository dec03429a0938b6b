import { describe, expect, it } from 'vitest';
import { mountOf, mountsBelow, parseMount } from '../../src/fs/mount-table.js';

describe('parseMount', () => {
  it('reads a line with optional fields and escapes', () => {
    expect(
      parseMount(
        '36 35 98:0 /mnt1 /media/my\\040disk rw,noatime master:1 shared:2 - ext4 /dev/sda1 rw,errors=continue',
      ),
    ).toEqual({ path: '/media/my disk', type: 'ext4', options: ['rw', 'noatime', 'rw', 'errors=continue'] });
  });
  it('reads a line without optional fields', () => {
    expect(parseMount('22 1 0:21 / /proc rw - proc proc rw')).toMatchObject({ path: '/proc', type: 'proc' });
  });
  it.each(['', 'nonsense', '36 35 98:0 /'])('takes %j for no mount', (line) => {
    expect(parseMount(line)).toBeUndefined();
  });
});

describe.skipIf(process.platform !== 'linux')('mountOf [Linux only: /proc]', () => {
  it('finds the deepest mount', () => {
    expect(mountOf('/proc/self')?.path).toBe('/proc');
    expect(mountOf('/')?.path).toBe('/');
    expect(mountsBelow('/').some(({ path }) => path === '/proc')).toBe(true);
    expect(mountsBelow('/proc').some(({ path }) => path === '/proc')).toBe(false);
  });
});
