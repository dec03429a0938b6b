/** The key pairs that a server accepts: told by flags, environment or config.yaml, else made at the first start. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { generateCredential } from '../auth/keyring.js';
import type { Credential } from '../auth/types.js';
import type { CredentialSetting } from '../base/config.js';
import { UsageError, errno } from '../base/errors.js';
import type { Owner } from '../base/model.js';
import { writeFileAtomic, type Ownership } from '../fs/statefile.js';

export interface Credentials {
  /** The first one's owner owns all buckets without a recorded owner. */
  list: [Credential, ...Credential[]];
  /** Where the first one comes from. */
  source: 'settings' | 'generated' | 'file';
  /** Path of credentials.json; absent if settings told the keys. */
  file?: string;
  warnings: string[];
}

/** Owner of all keys that name none. It does not depend on the keys: new ones must not lock anybody out of their buckets. */
export const DEFAULT_OWNER: Owner = { id: 'gos3rve', displayName: 'gos3rve' };

/**
 * @param told key pairs of the settings; if there are any, credentials.json is neither read nor made.
 * @throws UsageError when credentials.json cannot be read or written.
 */
export function loadCredentials(told: readonly CredentialSetting[], stateDir: string, owner?: Ownership): Credentials {
  const [first, ...others] = told.map(toCredential);
  if (first) return { list: [first, ...others], source: 'settings', warnings: [] };
  const file = join(stateDir, 'credentials.json');
  const known = readCredentials(file);
  if (known) return { list: [toCredential(known)], source: 'file', file, warnings: openToOthers(file) };
  const made = generateCredential();
  try {
    writeFileAtomic(file, `${JSON.stringify(made, null, 2)}\n`, owner, 0o600);
  } catch (error) {
    throw new UsageError(
      `cannot write ${file} (${errno(error) ?? 'unknown error'}); pass --state-dir, or the keys by --access-key and --secret-key`,
      1,
    );
  }
  return { list: [toCredential(made)], source: 'generated', file, warnings: [] };
}

/** All key pairs that a root has, the server's first one first; makes none. @throws UsageError when credentials.json cannot be read. */
export function knownCredentials(told: readonly CredentialSetting[], stateDir: string): CredentialSetting[] {
  const generated = readCredentials(join(stateDir, 'credentials.json'));
  return [...told, ...(generated === undefined ? [] : [generated])];
}

function readCredentials(file: string): CredentialSetting | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    throw new UsageError(`cannot read ${file} (${errno(error) ?? 'unknown error'})`, 1);
  }
  try {
    const { accessKey, secretKey } = JSON.parse(text) as Partial<CredentialSetting>;
    if (typeof accessKey === 'string' && typeof secretKey === 'string' && accessKey !== '' && secretKey !== '')
      return { accessKey, secretKey };
  } catch {
    // answered below
  }
  throw new UsageError(`${file} holds no { "accessKey", "secretKey" }; mend it, or remove it to get new keys`, 1);
}

function toCredential(setting: CredentialSetting): Credential {
  const { accessKey, secretKey, owner, displayName, token, email } = setting;
  return {
    accessKey,
    secretKey,
    owner: { id: owner ?? DEFAULT_OWNER.id, displayName: displayName ?? owner ?? DEFAULT_OWNER.displayName },
    ...(token === undefined ? {} : { token }),
    ...(email === undefined ? {} : { email }),
  };
}

/** A warning if others on this machine can read the secrets in `file`. */
export function openToOthers(file: string): string[] {
  if (process.platform === 'win32' || ((statSync(file, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) === 0) return [];
  return [`other users can read the secrets in ${file}; run: chmod 600 ${file}`];
}
