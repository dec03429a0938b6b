/**
 * The actions that a bucket policy may name, and what they act on. S3 refuses what no request ever asks for, and so must we: a Deny of it would
 * protect nothing, without a word. Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3" - all of them,
 * also those of operations that are not supported here, so that a policy may be brought along as it is.
 */
import { S3Error } from '../base/errors.js';
import type { Pattern } from './glob.js';
import type { Policy, Statement } from './policy-model.js';

const OF_BUCKETS = named(`
  AllowVendedLogDeliveryForResource CreateBucket CreateBucketMetadataTableConfiguration DeleteBucket
  DeleteBucketMetadataTableConfiguration DeleteBucketPolicy DeleteBucketWebsite GetAccelerateConfiguration
  GetAnalyticsConfiguration GetBucketAbac GetBucketAcl GetBucketCORS GetBucketLocation GetBucketLogging
  GetBucketMetadataTableConfiguration GetBucketNotification GetBucketObjectLockConfiguration
  GetBucketOwnershipControls GetBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock GetBucketRequestPayment
  GetBucketTagging GetBucketVersioning GetBucketWebsite GetEncryptionConfiguration GetIntelligentTieringConfiguration
  GetInventoryConfiguration GetLifecycleConfiguration GetMetricsConfiguration GetReplicationConfiguration ListBucket
  ListBucketMultipartUploads ListBucketVersions ListTagsForResource PauseReplication PutAccelerateConfiguration
  PutAnalyticsConfiguration PutBucketAbac PutBucketAcl PutBucketCORS PutBucketLogging PutBucketNotification
  PutBucketObjectLockConfiguration PutBucketOwnershipControls PutBucketPolicy PutBucketPublicAccessBlock
  PutBucketRequestPayment PutBucketTagging PutBucketVersioning PutBucketWebsite PutEncryptionConfiguration
  PutIntelligentTieringConfiguration PutInventoryConfiguration PutLifecycleConfiguration PutMetricsConfiguration
  PutReplicationConfiguration TagResource UntagResource UpdateBucketMetadataAnnotationTableConfiguration
  UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration
`);
const OF_OBJECTS = named(`
  AbortMultipartUpload BypassGovernanceRetention DeleteObject DeleteObjectAnnotation DeleteObjectTagging
  DeleteObjectVersion DeleteObjectVersionAnnotation DeleteObjectVersionTagging GetObject GetObjectAcl
  GetObjectAnnotation GetObjectAttributes GetObjectLegalHold GetObjectRetention GetObjectTagging GetObjectTorrent
  GetObjectVersion GetObjectVersionAcl GetObjectVersionAnnotation GetObjectVersionAnnotationForReplication
  GetObjectVersionAttributes GetObjectVersionForReplication GetObjectVersionTagging GetObjectVersionTorrent
  InitiateReplication ListMultipartUploadParts ListObjectAnnotations ListObjectVersionAnnotations
  ObjectOwnerOverrideToBucketOwner PutObject PutObjectAcl PutObjectAnnotation PutObjectLegalHold PutObjectRetention
  PutObjectTagging PutObjectVersionAcl PutObjectVersionAnnotation PutObjectVersionTagging ReplicateDelete
  ReplicateObject ReplicateObjectAnnotation ReplicateTags RestoreObject UpdateObjectEncryption
`);
/** Of accounts, access points, jobs, grants and Storage Lens: they exist, and no bucket's policy is asked. */
const OF_OTHERS = named(`
  AssociateAccessGrantsIdentityCenter CreateAccessGrant CreateAccessGrantsInstance CreateAccessGrantsLocation
  CreateAccessPoint CreateAccessPointForObjectLambda CreateJob CreateMultiRegionAccessPoint CreateStorageLensGroup
  DeleteAccessGrant DeleteAccessGrantsInstance DeleteAccessGrantsInstanceResourcePolicy DeleteAccessGrantsLocation
  DeleteAccessPoint DeleteAccessPointForObjectLambda DeleteAccessPointPolicy DeleteAccessPointPolicyForObjectLambda
  DeleteJobTagging DeleteMultiRegionAccessPoint DeleteStorageLensConfiguration DeleteStorageLensConfigurationTagging
  DeleteStorageLensGroup DescribeJob DescribeMultiRegionAccessPointOperation DissociateAccessGrantsIdentityCenter
  GetAccessGrant GetAccessGrantsInstance GetAccessGrantsInstanceForPrefix GetAccessGrantsInstanceResourcePolicy
  GetAccessGrantsLocation GetAccessPoint GetAccessPointConfigurationForObjectLambda GetAccessPointForObjectLambda
  GetAccessPointPolicy GetAccessPointPolicyForObjectLambda GetAccessPointPolicyStatus
  GetAccessPointPolicyStatusForObjectLambda GetAccountPublicAccessBlock GetDataAccess GetJobTagging
  GetMultiRegionAccessPoint GetMultiRegionAccessPointPolicy GetMultiRegionAccessPointPolicyStatus
  GetMultiRegionAccessPointRoutes GetStorageLensConfiguration GetStorageLensConfigurationTagging
  GetStorageLensDashboard GetStorageLensGroup ListAccessGrants ListAccessGrantsInstances ListAccessGrantsLocations
  ListAccessPoints ListAccessPointsForObjectLambda ListAllMyBuckets ListCallerAccessGrants ListJobs
  ListMultiRegionAccessPoints ListStorageLensConfigurations ListStorageLensGroups
  PutAccessGrantsInstanceResourcePolicy PutAccessPointConfigurationForObjectLambda PutAccessPointPolicy
  PutAccessPointPolicyForObjectLambda PutAccessPointPublicAccessBlock PutAccountPublicAccessBlock PutJobTagging
  PutMultiRegionAccessPointPolicy PutStorageLensConfiguration PutStorageLensConfigurationTagging
  SubmitMultiRegionAccessPointRoutes UpdateAccessGrantsLocation UpdateJobPriority UpdateJobStatus
  UpdateStorageLensGroup
`);
const ALL = [...OF_BUCKETS, ...OF_OBJECTS, ...OF_OTHERS];

/**
 * Only for a policy that is being put: one that an earlier version accepted must not lock out the owner.
 * @throws MalformedPolicy if an action does not exist, or if a Deny names one that applies to none of its resources. (An Allow of such a one gives
 * nothing, and may stand.)
 */
export function checkActions(policy: Policy): void {
  for (const statement of policy.statements) {
    if (!statement.actions.list.every((action) => fitsOne(action, ALL))) throw malformed('Policy has invalid action');
    if (statement.effect === 'Deny' && !isAlive(statement)) {
      throw malformed('Action does not apply to any resource(s) in statement');
    }
  }
}

function isAlive({ actions, resources }: Statement): boolean {
  if (actions.not || resources.not) return true;
  const within = [
    ...(resources.list.some(mayBeBucket) ? OF_BUCKETS : []),
    ...(resources.list.some(mayBeObject) ? OF_OBJECTS : []),
  ];
  return actions.list.every((action) => fitsOne(action, within));
}

/** Each pattern fits the policy's bucket up to its first slash (`parsePolicy`). */
function mayBeBucket({ text }: Pattern): boolean {
  return !text.includes('/');
}

/** `*` is any text, slashes too. */
function mayBeObject({ text }: Pattern): boolean {
  return text.includes('/') || text.includes('*');
}

function fitsOne(action: Pattern, names: readonly string[]): boolean {
  return names.some((name) => action.matches(name, NO_VALUES));
}

const NO_VALUES: ReadonlyMap<string, readonly string[]> = new Map();

function named(list: string): string[] {
  return list
    .trim()
    .split(/\s+/)
    .map((name) => `s3:${name}`);
}

function malformed(why: string): S3Error {
  return new S3Error('MalformedPolicy', why);
}
