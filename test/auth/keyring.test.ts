import { describe, expect, it } from 'vitest';
import { generateCredential, Keyring } from '../../src/auth/keyring.js';
import { UsageError } from '../../src/base/errors.js';
import { ALICE, BOB, keyring } from './fixtures.js';

describe('Keyring', () => {
  it('finds credentials by access key and token, owners by id and email', () => {
    const ring = keyring();
    expect(ring.byAccessKey('AKIABOB')).toBe(BOB);
    expect(ring.byAccessKey('akiabob')).toBeUndefined();
    expect(ring.byToken('alice-token')).toBe(ALICE);
    expect(ring.byToken('')).toBeUndefined();
    expect(ring.ownerById('bob-id')).toBe(BOB.owner);
    expect(ring.ownerByEmail('Alice@Example.com')).toBe(ALICE.owner);
  });

  it('lists each owner once, the first credential first', () => {
    const second = { ...ALICE, accessKey: 'SECOND', token: 'other' };
    expect(new Keyring([ALICE, BOB, second]).owners).toEqual([ALICE.owner, BOB.owner]);
  });

  it.each([
    [[ALICE, { ...BOB, accessKey: ALICE.accessKey }], 'given twice'],
    [[{ ...BOB, accessKey: '' }], 'empty'],
    [[{ ...BOB, secretKey: '' }], 'AKIABOB is empty'],
    [[ALICE, { ...BOB, token: 'alice-token' }], 'belongs to another'],
    [[{ ...BOB, token: '' }], 'empty'],
  ])('refuses unusable credentials and names the reason, never a secret', (list, message) => {
    try {
      new Keyring(list);
      expect.unreachable();
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      expect(error.message).toContain(message);
      expect(error.message).not.toContain(ALICE.secretKey);
      expect(error.message).not.toContain('alice-token');
    }
  });

  it('forgets the oldest signing scope, so that memory stays bounded', () => {
    const ring = keyring();
    const scope = {
      credential: BOB,
      identity: { kind: 'anonymous' },
      date: '',
      region: '',
      text: '',
      key: Buffer.alloc(0),
    } as const;
    for (let i = 0; i < 1500; i++) ring.rememberScope(`s${i}`, scope);
    expect(ring.recallScope('s499')).toBeUndefined();
    expect(ring.recallScope('s500')).toBe(scope);
  });
});

describe('generateCredential', () => {
  it('makes pairs of the shape clients expect, never the same twice', () => {
    const pairs = Array.from({ length: 200 }, generateCredential);
    for (const { accessKey, secretKey } of pairs) {
      expect(accessKey).toMatch(/^AKIA[A-Z2-7]{16}$/);
      expect(secretKey).toMatch(/^[A-Za-z0-9]{40}$/);
    }
    expect(new Set(pairs.map((pair) => pair.secretKey)).size).toBe(200);
    // All 62 letters and digits turn up among 8,000 characters unless the choice is lopsided.
    expect(new Set(pairs.flatMap((pair) => [...pair.secretKey])).size).toBe(62);
  });
});
