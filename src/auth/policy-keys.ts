/**
 * The condition keys that a bucket policy may use. S3 refuses others, and so must we: a Deny that rests on a key which no request ever has would
 * protect nothing, without a word.
 */

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
