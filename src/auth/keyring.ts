/** The credentials that a server accepts. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { UsageError } from '../base/errors.js';
import type { Owner } from '../base/model.js';
import { remember } from '../base/remember.js';
import type { AuthResult, Credential, Identity } from './types.js';

/** A credential on one day in one region: what signatures are checked with. */
export interface Scope {
  credential: Credential;
  identity: Identity;
  /** `YYYYMMDD` */
  date: string;
  region: string;
  /** `YYYYMMDD/region/s3/aws4_request` */
  text: string;
  /** Derived signing key, 32 bytes. */
  key: Buffer;
}

/** Who may be named in a grant; a {@link Keyring} is one. */
export interface Grantees {
  ownerById(id: string): Owner | undefined;
  ownerByEmail(email: string): Owner | undefined;
  /** Everyone whom a request can come from, but strangers. */
  readonly identities: readonly Identity[];
}

/** A presigned request whose signature was right; whether it has expired is asked each time. */
export interface PresignedUse {
  /** What the signature covers beside the URL. */
  method: string;
  host: string | undefined;
  /** That signatures had to name, or `any`. */
  region: string;
  result: AuthResult;
  /** When it was signed, ms. */
  date: number;
  /** Seconds. */
  expires: number;
}

const REMEMBERED_SCOPES = 1000;
const REMEMBERED_URLS = 4000;

/** Immutable set of credentials, with the signing keys that were derived from them. */
export class Keyring implements Grantees {
  /** Distinct owners, in the order of the credentials; the first one owns buckets that have no recorded owner. */
  readonly owners: readonly Owner[];
  readonly identities: readonly Identity[];

  readonly #byAccessKey = new Map<string, Credential>();
  readonly #byToken = new Map<string, { token: Buffer; credential: Credential }>();
  readonly #byId = new Map<string, Owner>();
  readonly #byEmail = new Map<string, Owner>();
  readonly #scopes = new Map<string, Scope>();
  readonly #presigned = new Map<string, PresignedUse>();
  /** Tokens are looked up by a keyed digest: what the lookup takes says nothing about the token. */
  readonly #pepper = randomBytes(32);

  /** @throws UsageError when an access key or token is empty or given twice. */
  constructor(credentials: readonly Credential[]) {
    for (const credential of credentials) this.#add(credential);
    this.owners = [...this.#byId.values()];
    this.identities = credentials.map(identityOf);
  }

  byAccessKey(accessKey: string): Credential | undefined {
    return this.#byAccessKey.get(accessKey);
  }

  /** The credential that a bearer token stands for; takes the same time whatever part of a token is right. */
  byToken(token: string): Credential | undefined {
    const digest = this.#digest(token);
    const found = this.#byToken.get(digest.toString('hex'));
    return found !== undefined && timingSafeEqual(found.token, digest) ? found.credential : undefined;
  }

  ownerById(id: string): Owner | undefined {
    return this.#byId.get(id);
  }

  ownerByEmail(email: string): Owner | undefined {
    return this.#byEmail.get(email.toLowerCase());
  }

  /** A scope remembered under the credential text of a request (`AKIA…/date/region/s3/aws4_request`). */
  recallScope(text: string): Scope | undefined {
    return this.#scopes.get(text);
  }

  /** Call it only for a scope whose signature was verified: strangers then cannot push out the scopes in use. */
  rememberScope(text: string, scope: Scope): void {
    remember(this.#scopes, text, scope, REMEMBERED_SCOPES);
  }

  /** @param url with the signature: a lookup by hash, which tells nothing of one that is nearly right. */
  recallPresigned(url: string): PresignedUse | undefined {
    return this.#presigned.get(url);
  }

  /** Call it only for what was verified. */
  rememberPresigned(url: string, use: PresignedUse): void {
    remember(this.#presigned, url, use, REMEMBERED_URLS);
  }

  #add(credential: Credential): void {
    const { accessKey, secretKey, owner, token, email } = credential;
    if (accessKey === '') throw new UsageError('an access key is empty; give it at least one character');
    if (secretKey === '') throw new UsageError(`the secret key of access key ${accessKey} is empty; give it one`);
    if (this.#byAccessKey.has(accessKey)) throw new UsageError(`access key ${accessKey} is given twice; remove one`);
    this.#byAccessKey.set(accessKey, credential);
    if (!this.#byId.has(owner.id)) this.#byId.set(owner.id, owner);
    if (email !== undefined) this.#byEmail.set(email.toLowerCase(), owner);
    if (token !== undefined) this.#addToken(token, credential);
  }

  #addToken(token: string, credential: Credential): void {
    if (token === '') throw new UsageError(`the token of access key ${credential.accessKey} is empty; remove it`);
    const digest = this.#digest(token);
    const name = digest.toString('hex');
    if (this.#byToken.has(name)) {
      throw new UsageError(`the token of access key ${credential.accessKey} belongs to another one too; change it`);
    }
    this.#byToken.set(name, { token: digest, credential });
  }

  #digest(token: string): Buffer {
    return createHmac('sha256', this.#pepper).update(token).digest();
  }
}

export function identityOf(credential: Credential): Identity {
  return { kind: 'user', accessKey: credential.accessKey, owner: credential.owner };
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const BASE62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** A new key pair: 20 characters that begin with `AKIA` (80 random bits), and 40 letters and digits (238 random bits), safe in shells and URLs. */
export function generateCredential(): { accessKey: string; secretKey: string } {
  return { accessKey: `AKIA${randomText(BASE32, 16)}`, secretKey: randomText(BASE62, 40) };
}

/** Bytes that would favour the alphabet's first letters are drawn again. */
function randomText(alphabet: string, length: number): string {
  const limit = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      if (byte < limit && text.length < length) text += alphabet.charAt(byte % alphabet.length);
    }
  }
  return text;
}
