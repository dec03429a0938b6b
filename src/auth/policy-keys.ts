/**
 * The condition keys that a bucket policy may use. S3 refuses others, and so must we: a Deny that rests on a key which no request ever has would
 * protect nothing, without a word.
 */

/** Keys that requests here have, or rightly never have (no VPC, no organization): as in S3, a condition then sees no value. */
const KNOWN: ReadonlySet<string> = new Set(
  [
    ...['CalledVia', 'CalledViaFirst', 'CalledViaLast', 'CurrentTime', 'EpochTime', 'FederatedProvider'],
    ...['MultiFactorAuthAge', 'MultiFactorAuthPresent', 'PrincipalAccount', 'PrincipalArn', 'PrincipalIsAWSService'],
    ...['PrincipalOrgID', 'PrincipalOrgPaths', 'PrincipalServiceName', 'PrincipalServiceNamesList', 'PrincipalType'],
    ...['Referer', 'RequestedRegion', 'ResourceAccount', 'ResourceOrgID', 'ResourceOrgPaths', 'SecureTransport'],
    ...['SourceAccount', 'SourceArn', 'SourceIp', 'SourceOrgID', 'SourceOrgPaths', 'SourceOwner', 'SourceVpc'],
    ...['SourceVpcArn', 'SourceVpce', 'TagKeys', 'TokenIssueTime', 'UserAgent', 'ViaAWSService', 'VpcSourceIp'],
    ...['userid', 'username'],
  ]
    .map((name) => `aws:${name}`)
    .concat(
      [
        ...['AccessGrantsInstanceArn', 'AccessPointNetworkOrigin', 'authType', 'DataAccessPointAccount'],
        ...['DataAccessPointArn', 'delimiter', 'if-match', 'if-none-match', 'locationconstraint', 'max-keys'],
        ...['object-lock-legal-hold', 'object-lock-mode', 'object-lock-remaining-retention-days'],
        ...['object-lock-retain-until-date', 'ObjectCreationOperation', 'prefix', 'RequestObjectTagKeys'],
        ...['ResourceAccount', 'signatureAge', 'signatureversion', 'TlsVersion', 'VersionId'],
      ].map((name) => `s3:${name}`),
    )
    .map((key) => key.toLowerCase()),
);
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
