"""Objects in a bucket of a MinIO-like store, through the minio client alone.

The client has no conditional write, but takes the connection pool it uses: ours puts
``If-None-Match: *`` on every request that makes an object.
"""

import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

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

THREADS = 16
"""Calls at a time, and connections in the pool."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 20.0
"""Without a byte, before a call fails."""

RETRIES = 3
"""After the first try."""

PART_SIZE = 16 << 20
"""Bytes of a part of a large file."""

READ_SIZE = 4 * CHUNK_SIZE
"""Bytes that a stream asks for at a time."""

LIST_PAGE = 1000
"""Objects found in one visit to the thread pool."""

RESTORING_RETRY_S = 300
"""When to ask again for an archived object."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MinioLocation:
    """Where objects are, and who asks; the secret stays out of `repr`."""

    host: str
    bucket: str
    prefix: str
    secure: bool
    region: str
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)


def open_minio(url: str, credentials: Mapping[str, str]) -> "MinioStore":
    """The store at ``minio://host:port/bucket/prefix?secure=0&region=...``.

    Raises:
        InvalidInputError: The URL lacks the host or bucket, or has an unknown option.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    secure, region = options.pop("secure", "1"), options.pop("region", "us-east-1")
    bucket, _, prefix = parts.path.strip("/").partition("/")
    if not parts.netloc or "@" in parts.netloc or not bucket or options or secure not in ("0", "1"):
        raise InvalidInputError(
            "the URL of the MinIO store is unusable",
            hint="use minio://host:port/bucket/prefix, with ?secure=0 for plain HTTP",
        )
    return MinioStore(
        MinioLocation(
            host=parts.netloc,
            bucket=bucket,
            prefix=prefix,
            secure=secure == "1",
            region=region,
            access_key=credentials.get("AWS_ACCESS_KEY_ID"),
            secret_key=credentials.get("AWS_SECRET_ACCESS_KEY"),
            session_token=credentials.get("AWS_SESSION_TOKEN"),
        )
    )


class _NeverReplace(urllib3.PoolManager):
    """Lets the store refuse to replace: on a whole object and on the end of one in parts."""

    def urlopen(self, method: str, url: str, **kw: Any) -> Any:  # type: ignore[override]  # as urllib3's
        query = urlsplit(url).query
        if (method == "PUT" and "uploadId=" not in query) or (
            method == "POST" and "uploadId=" in query
        ):
            kw["headers"] = {**kw.get("headers", {}), "If-None-Match": "*"}
        return super().urlopen(method, url, **kw)


class MinioStore:
    """An `ObjectStore` over a bucket; everything runs in threads."""

    def __init__(self, location: MinioLocation) -> None:
        self._location = location
        self._bucket = location.bucket
        self._prefix = f"{location.prefix}/" if location.prefix else ""
        self._offload = Offload("minio-store", THREADS)
        self._pool = _NeverReplace(
            maxsize=THREADS,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            retries=urllib3.Retry(
                total=RETRIES, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]
            ),
        )
        self._client = Minio(
            location.host,
            access_key=location.access_key,
            secret_key=location.secret_key,
            session_token=location.session_token,
            secure=location.secure,
            region=location.region,
            http_client=self._pool,
        )

    def __repr__(self) -> str:
        return f"MinioStore({self._location!r})"

    async def put_if_absent(self, key: str, body: bytes | Path) -> bool:
        return await self._run(self._put, key, body)

    async def head(self, key: str) -> ObjectInfo:
        return await self._run(self._head, key)

    async def get(self, key: str) -> bytes:
        return await self._run(self._get, key)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        check_range(check_key(key), start, end)
        return await self._run(self._get, key, start, end - start)

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        end = clamp_range(key, start, end, (await self.head(key)).size)
        for offset in range(start, end, READ_SIZE):
            body = await self.get_range(key, offset, min(offset + READ_SIZE, end))
            for at in range(0, len(body), CHUNK_SIZE):
                yield body[at : at + CHUNK_SIZE]

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        return in_key_order(self._list(check_prefix(prefix)), prefix)

    async def delete(self, key: str) -> None:
        await self._run(self._delete, key)

    async def aclose(self) -> None:
        await self._offload.aclose()
        self._pool.clear()

    async def _run(self, call: Callable[..., T], key: str, *args: Any) -> T:
        check_key(key)
        try:
            return await self._offload.run(call, key, *args)
        except (MinioException, HTTPError) as error:
            raise _error(key, error) from None

    def _put(self, key: str, body: bytes | Path) -> bool:
        try:
            if isinstance(body, bytes):
                self._client.put_object(
                    self._bucket, self._prefix + key, io.BytesIO(body), len(body)
                )
            else:
                self._put_file(key, body)
        except S3Error as error:
            if error.code in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True

    def _put_file(self, key: str, path: Path) -> None:
        try:
            file = path.open("rb")
            size = path.stat().st_size
        except OSError as error:
            raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error
        with file:
            self._client.put_object(
                self._bucket, self._prefix + key, file, size,
                part_size=PART_SIZE, num_parallel_uploads=1,
            )  # fmt: skip

    def _head(self, key: str) -> ObjectInfo:
        size = self._client.stat_object(self._bucket, self._prefix + key).size
        assert size is not None  # a stat always has one
        return ObjectInfo(key, size)

    def _get(self, key: str, offset: int = 0, length: int = 0) -> bytes:
        answer = self._client.get_object(
            self._bucket, self._prefix + key, offset=offset, length=length
        )
        try:
            return bytes(answer.read())
        finally:
            answer.close()
            answer.release_conn()

    async def _list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        found: Iterator[Any] = self._client.list_objects(
            self._bucket, prefix=self._prefix + prefix, recursive=True
        )
        try:
            while page := await self._offload.run(lambda: list(islice(found, LIST_PAGE))):
                for item in page:
                    yield ObjectInfo(item.object_name.removeprefix(self._prefix), item.size)
        except (MinioException, HTTPError) as error:
            raise _error(prefix, error) from None

    def _delete(self, key: str) -> None:
        self._client.remove_object(self._bucket, self._prefix + key)


def _error(key: str, error: Exception) -> ToolkitError:
    code = error.code if isinstance(error, S3Error) else type(error).__name__
    if code in ("NoSuchKey", "NoSuchObject"):
        return NotFoundError(f"there is no object {key}")
    if code == "InvalidObjectState":
        return RestoringError(f"{key} is archived", retry_after_s=RESTORING_RETRY_S)
    if code == "InvalidRange":
        return InvalidInputError(f"the range starts behind the end of {key}")
    return UnavailableError(
        f"the MinIO store did not serve {key}: {code}",
        hint="check the host, the bucket and the credentials",
    )
