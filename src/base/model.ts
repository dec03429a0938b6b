/**
 * Words that all layers share: checksum algorithms, ACLs, tags.
 * Plain data; no behaviour.
 */
export const CHECKSUM_ALGORITHMS = [
  'CRC32',
  'CRC32C',
  'CRC64NVME',
  'SHA1',
  'SHA256',
  'SHA512',
  'MD5',
  'XXHASH64',
  'XXHASH3',
  'XXHASH128',
] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE';

/** A checksum of an object or part; `value` is base64 of the big-endian digest, with `-N` behind it when composite of N parts. */
export interface Checksum {
  algorithm: ChecksumAlgorithm;
  type: ChecksumType;
  value: string;
}

export interface Owner {
  id: string;
  displayName: string;
}

export type Permission = 'FULL_CONTROL' | 'READ' | 'WRITE' | 'READ_ACP' | 'WRITE_ACP';
export type Grantee =
  | { type: 'CanonicalUser'; id: string; displayName?: string }
  | { type: 'Group'; uri: string }
  | { type: 'AmazonCustomerByEmail'; email: string };
export interface Grant {
  grantee: Grantee;
  permission: Permission;
}
/** Access control list as S3 shows it: the owner is always named. */
export interface Acl {
  owner: Owner;
  grants: Grant[];
}

/** Tags in the order given; keys are unique. */
export type Tags = [key: string, value: string][];
