/** The credential and the instant of AWS's published examples. */
import { expect } from 'vitest';
import { Keyring } from '../../src/auth/keyring.js';
import type { Credential } from '../../src/auth/types.js';
import { S3Error, type ErrorCode } from '../../src/base/errors.js';

export const ALICE: Credential = {
  accessKey: 'AKIAIOSFODNN7EXAMPLE',
  secretKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  owner: { id: 'alice-id', displayName: 'Alice' },
  token: 'alice-token',
  email: 'alice@example.com',
};
export const BOB: Credential = {
  accessKey: 'AKIABOB',
  secretKey: 'bobs-secret',
  owner: { id: 'bob-id', displayName: 'Bob' },
};
export const keyring = (): Keyring => new Keyring([ALICE, BOB]);
export const NOW = Date.UTC(2013, 4, 24);
export const SCOPE = '20130524/us-east-1/s3/aws4_request';
export const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** Runs what must throw an S3Error of that code, and returns the error. */
export function refused(code: ErrorCode, run: () => unknown): S3Error {
  try {
    run();
  } catch (error) {
    if (!(error instanceof S3Error)) throw error;
    expect(error.code, error.message).toBe(code);
    return error;
  }
  throw new Error(`expected ${code}, nothing was thrown`);
}

export async function refusedLater(code: ErrorCode, run: () => Promise<unknown>): Promise<S3Error> {
  try {
    await run();
  } catch (error) {
    if (!(error instanceof S3Error)) throw error;
    expect(error.code, error.message).toBe(code);
    return error;
  }
  throw new Error(`expected ${code}, nothing was thrown`);
}
