/** What authentication takes and gives: data in, verdict out; no request object, no store. */
import type { Owner } from '../base/model.js';

/** One key pair; several may share an owner. */
export interface Credential {
  accessKey: string;
  secretKey: string;
  owner: Owner;
  /** Optional bearer token that stands for this key pair (`Authorization: Bearer …`). */
  token?: string;
  /** By which ACL grants may name the owner (`emailAddress="…"`). */
  email?: string;
}

/** Who sent the request. */
export type Identity = { kind: 'user'; accessKey: string; owner: Owner } | { kind: 'anonymous' };

/** The facts of a request that its signature covers, as they came over the wire. */
export interface SignedRequest {
  method: string;
  /** Request target as sent, undecoded: path and query. */
  url: string;
  /** Names in lower case; several lines of one name joined by `,`. */
  headers: Readonly<Record<string, string | undefined>>;
  /** Virtual-hosted requests are signed over the path as sent, so nothing here knows buckets. */
}

/** How the body is framed and what its signature promises; `decodeBody` obeys it. */
export type PayloadMode =
  /** Not covered by the signature (UNSIGNED-PAYLOAD, presigned, anonymous). */
  | { kind: 'unsigned' }
  /** SHA-256 of the whole body in hex, compared after the last byte. */
  | { kind: 'sha256'; hex: string }
  /** aws-chunked; `signing` is absent for STREAMING-UNSIGNED-PAYLOAD-TRAILER. */
  | { kind: 'chunked'; trailer: boolean; signing?: ChunkSigning };

export interface ChunkSigning {
  /** Derived signing key, 32 bytes. */
  key: Buffer;
  /** `YYYYMMDDTHHMMSSZ` */
  timestamp: string;
  /** `YYYYMMDD/region/s3/aws4_request` */
  scope: string;
  /** Signature of the request headers, hex. */
  seed: string;
}

/** What policies can ask of a signature. */
export interface Signature {
  /** `AWS` is version 2, of forms only. */
  version: 'AWS4-HMAC-SHA256' | 'AWS';
  /** When it was made, ms; absent in version 2, which does not say. */
  at?: number;
}

export interface AuthResult {
  identity: Identity;
  payload: PayloadMode;
  /** Absent where nothing is signed. */
  signature?: Signature;
  /** `header`, `query` (presigned), `bearer` or `none`. */
  via: 'header' | 'query' | 'bearer' | 'none';
  /** When (ms, inclusive) the same request, byte by byte, would be told the same: after that it has expired, before that it is none yet. */
  valid?: Validity;
}

export interface Validity {
  from: number;
  until: number;
}
