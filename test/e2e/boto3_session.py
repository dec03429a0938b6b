"""One session of boto3 against the endpoint given: every assertion compares bytes or names; prints `all is well`."""
import base64
import hashlib
import io
import os
import sys
import urllib.request
import zlib

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1024 * 1024
endpoint = sys.argv[1]
root = os.environ["E2E_ROOT"]
s3 = boto3.client("s3", endpoint_url=endpoint)
BUCKET = "boto-box"


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"{code} was expected")


assert [b["Name"] for b in s3.list_buckets()["Buckets"]] == ["box"]
s3.create_bucket(Bucket=BUCKET)
refused("BucketAlreadyOwnedByYou", s3.create_bucket, Bucket=BUCKET)

small = {f"dir/{n:03d} ü.txt": os.urandom(n * 37) for n in range(60)}
for key, data in small.items():
    answer = s3.put_object(Bucket=BUCKET, Key=key, Body=data, Metadata={"n": str(len(data))})
    assert answer["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
for key, data in small.items():
    answer = s3.get_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
    assert answer["Body"].read() == data and answer["Metadata"] == {"n": str(len(data))}
    with open(os.path.join(root, BUCKET, key), "rb") as file:
        assert file.read() == data

pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 7})
assert [o["Key"] for page in pages for o in page["Contents"]] == sorted(small, key=lambda k: k.encode())
pages = s3.get_paginator("list_objects").paginate(Bucket=BUCKET, Prefix="dir/", PaginationConfig={"PageSize": 11})
assert [o["Key"] for page in pages for o in page["Contents"]] == sorted(small, key=lambda k: k.encode())
listed = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")
assert [p["Prefix"] for p in listed["CommonPrefixes"]] == ["dir/"] and "Contents" not in listed

# A presigned URL, fetched by the standard library. Without the setting boto3 presigns by SigV2, which is refused.
first = next(iter(small))
v4 = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version="s3v4"))
url = v4.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": first}, ExpiresIn=60)
assert urllib.request.urlopen(url).read() == small[first]

big = os.urandom(64 * MIB)
config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB)
for algorithm in ("CRC32", "SHA1", "SHA256"):
    s3.upload_fileobj(io.BytesIO(big), BUCKET, "big.bin", Config=config, ExtraArgs={"ChecksumAlgorithm": algorithm})
    head = s3.head_object(Bucket=BUCKET, Key="big.bin", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(big) and head["ETag"].endswith('-8"'), head
    assert f"Checksum{algorithm}" in head, head
    target = io.BytesIO()
    s3.download_fileobj(BUCKET, "big.bin", target, Config=config)
    assert target.getvalue() == big

# Part by part, with the checksums that this client computes itself, of both types.
pieces = [os.urandom(5 * MIB), os.urandom(1000)]
for algorithm, kind in (("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")):
    place = {"Bucket": BUCKET, "Key": f"{algorithm} {kind}"}
    member = f"Checksum{algorithm}"
    upload = s3.create_multipart_upload(**place, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (upload["ChecksumAlgorithm"], upload["ChecksumType"]) == (algorithm, kind)
    at = {**place, "UploadId": upload["UploadId"]}
    parts = []
    for number, piece in enumerate(pieces, 1):
        answer = s3.upload_part(**at, PartNumber=number, Body=piece, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], member: answer[member]})
    listed = s3.list_parts(**at)
    assert [part[member] for part in listed["Parts"]] == [part[member] for part in parts]
    spoilt = [parts[0], {**parts[1], member: parts[0][member]}]
    refused("InvalidPart", s3.complete_multipart_upload, **at, MultipartUpload={"Parts": spoilt})
    refused("BadDigest", s3.complete_multipart_upload, **at, MultipartUpload={"Parts": parts}, **{member: parts[0][member]})
    if kind == "FULL_OBJECT":
        whole = base64.b64encode(zlib.crc32(b"".join(pieces)).to_bytes(4, "big")).decode()
    else:
        raw = b"".join(base64.b64decode(part[member]) for part in parts)
        crc32 = zlib.crc32(raw).to_bytes(4, "big")
        digest = crc32 if algorithm == "CRC32" else hashlib.new(algorithm.lower(), raw).digest()
        whole = base64.b64encode(digest).decode() + "-2"
    done = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": parts}, ChecksumType=kind, **{member: whole})
    assert (done[member], done["ChecksumType"]) == (whole, kind), done
    answer = s3.get_object(**place, ChecksumMode="ENABLED")
    assert answer["Body"].read() == b"".join(pieces) and (answer[member], answer["ChecksumType"]) == (whole, kind)
    told = s3.get_object_attributes(**place, ObjectAttributes=["Checksum", "ObjectParts"])
    assert told["Checksum"] == {member: whole, "ChecksumType": kind}, told
    assert [part[member] for part in told["ObjectParts"]["Parts"]] == [part[member] for part in parts], told

s3.copy({"Bucket": BUCKET, "Key": "big.bin"}, BUCKET, "copy of big.bin", Config=config)
assert s3.get_object(Bucket=BUCKET, Key="copy of big.bin")["Body"].read() == big
s3.copy_object(Bucket=BUCKET, Key="small copy", CopySource={"Bucket": BUCKET, "Key": first})
assert s3.get_object(Bucket=BUCKET, Key="small copy")["Body"].read() == small[first]
assert s3.get_object(Bucket=BUCKET, Key="big.bin", Range="bytes=1000-1999")["Body"].read() == big[1000:2000]

s3.put_object_tagging(Bucket=BUCKET, Key=first, Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
assert s3.get_object_tagging(Bucket=BUCKET, Key=first)["TagSet"] == [{"Key": "k", "Value": "v"}]
refused("PreconditionFailed", s3.put_object, Bucket=BUCKET, Key=first, Body=b"x", IfNoneMatch="*")
refused("NoSuchKey", s3.get_object, Bucket=BUCKET, Key="nothing")
refused("BucketNotEmpty", s3.delete_bucket, Bucket=BUCKET)

keys = [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET) for o in page["Contents"]]
answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in keys]})
assert len(answer["Deleted"]) == len(keys) and "Errors" not in answer, answer
s3.delete_bucket(Bucket=BUCKET)
assert not os.path.exists(os.path.join(root, BUCKET))
print("all is well")
