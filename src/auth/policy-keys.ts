/**
 * The condition keys that a bucket policy may use. S3 refuses others, and so must we: a Deny that rests on a key which no request ever has would
 * protect nothing, without a word.
 */
import { S3Error } from '../base/errors.js';
import type { Policy } from './policy-model.js';

/** Keys that every request has, a stranger's too: the compiler sees to it that they are given a value (`policyConditions`). */
const ALWAYS = [
  'aws:CurrentTime',
  'aws:EpochTime',
  'aws:PrincipalAccount',
  'aws:PrincipalIsAWSService',
  'aws:PrincipalType',
  'aws:RequestedRegion',
  'aws:ResourceAccount',
  'aws:SecureTransport',
  'aws:userid',
  'aws:ViaAWSService',
  's3:ResourceAccount',
] as const;
export type EveryRequest = Record<(typeof ALWAYS)[number], string>;

/** Keys that some requests have, by what they say, who makes them and where from. */
const SOMETIMES = [
  ...['PrincipalArn', 'Referer', 'SourceIp', 'UserAgent', 'username'].map((name) => `aws:${name}`),
  ...[
    ...['authType', 'delimiter', 'if-match', 'if-none-match', 'max-keys', 'ObjectCreationOperation', 'prefix'],
    ...['RequestObjectTagKeys', 'signatureAge', 'signatureversion', 'VersionId'],
  ].map((name) => `s3:${name}`),
];
/** Keys of what does not exist here: as in S3 where it is not used, a condition sees no value. */
const NEVER = [
  ...[
    // requests that services make for somebody
    ...['CalledVia', 'CalledViaFirst', 'CalledViaLast', 'PrincipalServiceName', 'PrincipalServiceNamesList'],
    ...['SourceAccount', 'SourceArn', 'SourceOrgID', 'SourceOrgPaths', 'SourceOwner'],
    // temporary credentials
    ...['FederatedProvider', 'MultiFactorAuthAge', 'MultiFactorAuthPresent', 'TokenIssueTime'],
    // organizations, and private networks
    ...['PrincipalOrgID', 'PrincipalOrgPaths', 'ResourceOrgID', 'ResourceOrgPaths'],
    ...['SourceVpc', 'SourceVpcArn', 'SourceVpce', 'VpcSourceIp'],
    // operations of other services
    'TagKeys',
  ].map((name) => `aws:${name}`),
  ...[
    ...['AccessGrantsInstanceArn', 'AccessPointNetworkOrigin', 'DataAccessPointAccount', 'DataAccessPointArn'],
    // of CreateBucket, when no bucket has a policy yet
    'locationconstraint',
    ...['object-lock-legal-hold', 'object-lock-mode', 'object-lock-remaining-retention-days'],
    ...['object-lock-retain-until-date', 'TlsVersion'],
  ].map((name) => `s3:${name}`),
];
const KNOWN: ReadonlySet<string> = new Set([...ALWAYS, ...SOMETIMES, ...NEVER].map((key) => key.toLowerCase()));
const FAMILIES = [
  ...['aws:principaltag/', 'aws:requesttag/', 'aws:resourcetag/'],
  ...['s3:existingobjecttag/', 's3:requestobjecttag/', 's3:buckettag/', 's3:x-amz-'],
];

/** Whether a condition may ask for it; names are compared without case. */
export function isConditionKey(key: string): boolean {
  const name = key.toLowerCase();
  // only these two services' keys have a meaning in S3
  if (!/^(?:aws|s3):/.test(name)) return false;
  return KNOWN.has(name) || FAMILIES.some((family) => name.startsWith(family) && name.length > family.length);
}

/** Headers that have a key `s3:x-amz-…` (Service Authorization Reference). */
const HEADERS: ReadonlySet<string> = new Set(
  [
    ...[
      'acl',
      'bucket-namespace',
      'content-sha256',
      'copy-source',
      'grant-full-control',
      'grant-read',
      'grant-read-acp',
    ],
    ...['grant-write', 'grant-write-acp', 'metadata-directive', 'object-annotation-directive', 'object-if-match'],
    ...['object-ownership', 'server-side-encryption', 'server-side-encryption-aws-kms-key-id'],
    ...['server-side-encryption-customer-algorithm', 'storage-class', 'website-redirect-location'],
  ].map((name) => `s3:x-amz-${name}`),
);

/** Only for a policy that is being put: one that an earlier version accepted goes on. @throws MalformedPolicy for the key of a header that has none. */
export function checkHeaderKeys({ statements }: Policy): void {
  for (const { key } of statements.flatMap(({ conditions }) => conditions)) {
    if (!key.startsWith('s3:x-amz-') || HEADERS.has(key)) continue;
    throw new S3Error('MalformedPolicy', `Policy has an invalid condition key: ${JSON.stringify(key)}`);
  }
}
