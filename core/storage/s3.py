"""Objects in a bucket of S3, or of a store that speaks its protocol.

boto3 writes and controls, in threads; obstore reads, on the event loop, at a third of the
CPU time. A write carries ``If-None-Match: *``, so that the bucket itself refuses to replace.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import parse_qsl, urlsplit

import boto3
import obstore
from boto3.exceptions import Boto3Error
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store as Reader

from core.errors import (
    InvalidInputError,
    NotFoundError,
    RestoringError,
    ToolkitError,
    UnavailableError,
)
from core.storage.keys import check_key, check_prefix, check_range, clamp_range
from core.storage.offload import Offload
from core.storage.ordering import in_key_order
from core.storage.protocol import CHUNK_SIZE, ObjectInfo

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig, S3Config

THREADS = 16
"""Calls of boto3 at a time, and connections in its pool."""

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 20
"""Without a byte, for a write; for the whole answer, of at most `READ_SIZE`, for a read."""

MAX_TRIES = 4
"""Of one call, the first included."""

RETRY_TIMEOUT_S = 15
"""For all tries of one read together."""

PART_SIZE = 16 << 20
"""Bytes of a part; larger files go up in parts, so that a lost connection costs one part."""

READ_SIZE = 4 * CHUNK_SIZE
"""Bytes asked for at a time: a slow reader of a stream holds no connection open."""

RESTORE_DAYS = 7
"""How long a restored copy of an archived object stays readable."""

RESTORING_RETRY_S = 300
"""When to ask again for an archived object; the fastest restore takes minutes."""

T = TypeVar("T")

_ARCHIVED = "InvalidObjectState"
_CONFLICT = "ConditionalRequestConflict"
_ABSENT = {"NoSuchKey", "404", "NotFound"}


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where objects are; *endpoint* is None for AWS itself."""

    bucket: str
    prefix: str
    endpoint: str | None
    region: str


def open_s3(url: str, credentials: Mapping[str, str]) -> "S3Store":
    """The store at ``s3://bucket/prefix?endpoint=...&region=...``.

    Raises:
        InvalidInputError: The URL names no bucket or an unknown option.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    endpoint, region = options.pop("endpoint", None), options.pop("region", None)
    if not parts.netloc or options or not (endpoint or "http://").startswith(("http:", "https:")):
        raise InvalidInputError(
            f"{url!r} is no S3 URL",
            hint="use s3://bucket/prefix?endpoint=http://host:port&region=eu-central-1",
        )
    region = region or credentials.get("AWS_REGION") or "us-east-1"
    prefix = parts.path.strip("/")
    return S3Store(S3Location(parts.netloc, prefix, endpoint, region), credentials)


class S3Store:
    """An `ObjectStore` over a bucket; also asks for archived objects (`request_restore`)."""

    def __init__(self, location: S3Location, credentials: Mapping[str, str]) -> None:
        self._location = location
        self._prefix = f"{location.prefix}/" if location.prefix else ""
        self._offload = Offload("s3-store", THREADS)
        session = boto3.session.Session(
            aws_access_key_id=credentials.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=credentials.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=credentials.get("AWS_SESSION_TOKEN"),
            region_name=location.region,
        )
        known = session.get_credentials() is not None
        self._client = _client(session, location, signed=known)
        self._reader = _reader(session, location, signed=known)

    def __repr__(self) -> str:
        return f"S3Store({self._location!r})"

    async def put_if_absent(self, key: str, body: bytes | Path) -> bool:
        return await self._run(self._put, key, body)

    async def head(self, key: str) -> ObjectInfo:
        try:
            meta = await obstore.head_async(self._reader, check_key(key))
        except (BaseError, FileNotFoundError) as error:
            raise _read_error(key, error) from None
        return ObjectInfo(key, meta["size"])

    async def get(self, key: str) -> bytes:
        try:
            head: GetOptions = {"range": (0, READ_SIZE)}
            answer = await obstore.get_async(self._reader, check_key(key), options=head)
            body = bytearray(await answer.bytes_async())
        except (BaseError, FileNotFoundError) as error:
            cause = _read_error(key, error)
            if isinstance(cause, InvalidInputError):
                return b""  # only an empty object has no first byte
            raise cause from None
        size = answer.meta["size"]
        # pieces: the timeout is one for the whole answer, however large
        for at in range(READ_SIZE, size, READ_SIZE):
            body += await self.get_range(key, at, min(at + READ_SIZE, size))
        return bytes(body)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        check_range(check_key(key), start, end)
        try:
            body = await obstore.get_range_async(self._reader, key, start=start, end=end)
        except (BaseError, FileNotFoundError) as error:
            raise _read_error(key, error) from None
        return bytes(body)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        end = clamp_range(key, start, end, (await self.head(key)).size)
        for offset in range(start, end, READ_SIZE):
            body = await self.get_range(key, offset, min(offset + READ_SIZE, end))
            for at in range(0, len(body), CHUNK_SIZE):
                yield body[at : at + CHUNK_SIZE]

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        check_prefix(prefix)
        found = self._list(prefix)
        return in_key_order(found, prefix) if self._location.endpoint else found

    async def delete(self, key: str) -> None:
        await self._run(self._delete, key)

    async def request_restore(self, key: str) -> None:
        """Ask the bucket to make the archived *key* readable; asking again is no error."""
        await self._run(self._restore, key)

    async def aclose(self) -> None:
        await self._offload.aclose()
        await asyncio.to_thread(self._client.close)

    async def _run(self, call: Callable[..., T], key: str, *args: Any) -> T:
        check_key(key)
        try:
            return await self._offload.run(call, key, *args)
        except (ClientError, BotoCoreError, Boto3Error) as error:
            raise _control_error(key, error) from None

    def _name(self, key: str) -> dict[str, str]:
        return {"Bucket": self._location.bucket, "Key": self._prefix + key}

    def _put(self, key: str, body: bytes | Path) -> bool:
        for attempt in range(1, MAX_TRIES + 1):
            try:
                self._write(key, body)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in ("PreconditionFailed", "412"):
                    return False
                # 409: another write of the key is under way; once it is done we know who won
                if code != _CONFLICT or attempt == MAX_TRIES:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def _write(self, key: str, body: bytes | Path) -> None:
        if isinstance(body, bytes):
            self._client.put_object(**self._name(key), Body=body, IfNoneMatch="*")
            return
        try:
            file = body.open("rb")
            size = body.stat().st_size
        except OSError as error:
            raise InvalidInputError(f"cannot read {body}: {error.strerror}") from error
        with file:
            if size <= PART_SIZE:
                self._client.put_object(**self._name(key), Body=file.read(), IfNoneMatch="*")
            else:
                self._write_parts(key, file)

    def _write_parts(self, key: str, file: BinaryIO) -> None:
        name = self._name(key)
        upload = self._client.create_multipart_upload(**name)["UploadId"]
        try:
            parts: list[dict[str, Any]] = []
            while part := file.read(PART_SIZE):
                number = len(parts) + 1
                answer = self._client.upload_part(
                    **name, UploadId=upload, PartNumber=number, Body=part
                )
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._client.complete_multipart_upload(
                **name, UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:
            with contextlib.suppress(ClientError, BotoCoreError):  # the first error is the news
                self._client.abort_multipart_upload(**name, UploadId=upload)
            raise

    async def _list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        query = {"Bucket": self._location.bucket, "Prefix": self._prefix + prefix}
        while True:
            try:
                page = await self._offload.run(self._client.list_objects_v2, **query)
            except (ClientError, BotoCoreError) as error:
                raise _control_error(prefix, error) from None
            for found in page.get("Contents", []):
                yield ObjectInfo(found["Key"].removeprefix(self._prefix), found["Size"])
            if not page["IsTruncated"]:
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    def _delete(self, key: str) -> None:
        self._client.delete_object(**self._name(key))

    def _restore(self, key: str) -> None:
        request = {"Days": RESTORE_DAYS, "GlacierJobParameters": {"Tier": "Standard"}}
        try:
            self._client.restore_object(**self._name(key), RestoreRequest=request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "RestoreAlreadyInProgress":
                raise


def _client(session: boto3.session.Session, location: S3Location, *, signed: bool) -> Any:
    own = location.endpoint is not None
    config = Config(
        max_pool_connections=THREADS,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": MAX_TRIES},
        # other stores than AWS refuse or ignore the checksums that are on by default
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if own else "auto"},
        signature_version=None if signed else UNSIGNED,
    )
    return session.client("s3", endpoint_url=location.endpoint, config=config)


def _reader(session: boto3.session.Session, location: S3Location, *, signed: bool) -> Reader:
    own = location.endpoint is not None
    config: S3Config = {
        "region": location.region,
        "virtual_hosted_style_request": not own,
        "skip_signature": not signed,
    }
    if location.endpoint is not None:
        config["endpoint"] = location.endpoint
    client_options: ClientConfig = {
        "allow_http": own,
        "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
        "timeout": timedelta(seconds=READ_TIMEOUT_S),
    }
    retry: RetryConfig = {
        "max_retries": MAX_TRIES - 1,
        "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S),
    }
    return Reader(
        location.bucket,
        prefix=location.prefix or None,
        config=config,
        client_options=client_options,
        retry_config=retry,
        credential_provider=Boto3CredentialProvider(session) if signed else None,
    )


def _control_error(key: str, error: Exception) -> ToolkitError:
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if code in _ABSENT:
            return NotFoundError(f"there is no object {key}")
        return _refused(key, code)
    return _refused(key, type(error).__name__)


def _read_error(key: str, error: Exception) -> ToolkitError:
    """What obstore's error means; it keeps the store's answer as text only."""
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"there is no object {key}")
    if f"<Code>{_ARCHIVED}<" in text:
        return RestoringError(f"{key} is archived", retry_after_s=RESTORING_RETRY_S)
    if " 416 " in text.partition("\n")[0]:
        return InvalidInputError(f"the range starts behind the end of {key}")
    code = re.search(r"<Code>(\w{1,60})<", text)
    return _refused(key, code[1] if code else type(error).__name__)


def _refused(key: str, code: str) -> UnavailableError:
    return UnavailableError(
        f"the S3 store did not serve {key}: {code}",
        hint="check the endpoint, the bucket and the credentials",
    )
