"""Object stores behind one protocol."""

from collections.abc import Mapping
from pathlib import Path

from core.errors import InvalidInputError
from core.storage.local import LocalStore
from core.storage.memory import MemoryStore
from core.storage.protocol import ObjectStore
from core.storage.tiered import TieredStore

__all__ = ["ObjectStore", "TieredStore", "open_store"]

URL_FORMS = "memory:, local:/path, s3://bucket/prefix or minio://host:port/bucket/prefix"


def open_store(url: str, credentials: Mapping[str, str] | None = None) -> ObjectStore:
    """The store at *url*; nothing is fetched or written yet.

    Args:
        url: ``memory:``; ``local:/path`` or a plain path;
            ``s3://bucket/prefix?endpoint=http://host:port&region=eu-central-1``;
            ``minio://host:port/bucket/prefix?secure=0``.
        credentials: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN`` and
            ``AWS_REGION`` as in an environment; other names are ignored.

    Raises:
        InvalidInputError: No store has such a URL.
    """
    scheme, colon, rest = url.partition(":")
    if not url or (scheme == "local" and not rest):
        raise InvalidInputError("the store's URL is empty", hint=f"use {URL_FORMS}")
    if not colon or "/" in scheme:
        return LocalStore(Path(url))
    match scheme:
        case "memory":
            return MemoryStore()
        case "local":
            return LocalStore(Path(rest))
        case "s3":
            from core.storage.s3 import open_s3  # noqa: PLC0415 - boto3 takes 0.6 s to load

            return open_s3(url, credentials or {})
        case "minio":
            from core.storage.minio import open_minio  # noqa: PLC0415 - slow to load, too

            return open_minio(url, credentials or {})
    raise InvalidInputError(f"no store is called {scheme}:", hint=f"use {URL_FORMS}")
