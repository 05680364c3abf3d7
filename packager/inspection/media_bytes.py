"""Bytes of a file or URL, read where they are asked for: an inspection wants headers, not media.

Bounded: a URL gives at most `MAX_DOWNLOAD` bytes in `MAX_SECONDS`, and `KEPT_BLOCKS` are held.
"""

import re
import time
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from core.errors import InvalidInputError, NotFoundError, UnavailableError

BLOCK = 1 << 16
"""Bytes of a range request."""
KEPT_BLOCKS = 128
MAX_DOWNLOAD = 1 << 28
"""Bytes that are fetched from a URL altogether."""
MAX_SECONDS = 120.0
REQUEST_TIMEOUT_S = 15.0

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class MediaBytes(Protocol):
    """Something of a known size that can be read anywhere."""

    @property
    def size(self) -> int:
        """All bytes there are."""
        ...

    def read(self, start: int, size: int) -> bytes:
        """At most *size* bytes from *start*; fewer only at the end."""
        ...


class FileBytes:
    """An open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = file.seek(0, 2)

    def read(self, start: int, size: int) -> bytes:
        """Read from the file."""
        self._file.seek(start)
        return self._file.read(size)


class HttpBytes:
    """What lies at a URL, fetched in blocks by range requests.

    Raises:
        UnavailableError: The server does not answer, or the limits are used up.
        NotFoundError: It has no such thing.
        InvalidInputError: It refuses, or cannot serve ranges.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = url, clock
        self._deadline = clock() + MAX_SECONDS
        self._left = MAX_DOWNLOAD
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        # only these handlers: a redirect must not lead to ftp: or file:
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPErrorProcessor,
            urllib.request.HTTPDefaultErrorHandler,
        ):
            self._opener.add_handler(handler())
        self.size = 0
        self._block(0)

    def read(self, start: int, size: int) -> bytes:
        """Fetch the blocks around, unless they are held already."""
        end = min(start + size, self.size)
        parts = []
        while start < end:
            number, skip = divmod(start, BLOCK)
            part = self._block(number)[skip : skip + end - start]
            if not part:
                break
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            self._blocks[number] = self._fetch(number * BLOCK)
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetch(self, start: int) -> bytes:
        seconds = self._deadline - self._clock()
        if self._left <= 0 or seconds <= 0:
            raise UnavailableError(
                f"gave up after {MAX_DOWNLOAD - self._left} bytes", hint="download the file"
            )
        request = urllib.request.Request(  # noqa: S310  open_media lets http and https pass alone
            self._url, headers={"Range": f"bytes={start}-{start + BLOCK - 1}"}
        )
        with _translated():
            response: HTTPResponse = self._opener.open(
                request, None, min(seconds, REQUEST_TIMEOUT_S)
            )
            with response:
                size = self._check(response, start)
                body = response.read(min(BLOCK, size - start))
        self._left -= len(body)
        self.size = size
        return body

    def _check(self, response: HTTPResponse, start: int) -> int:
        """The size of the whole, from an answer that is what was asked for."""
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 206 and match and int(match[1]) == start:
            size = int(match[3])
        elif response.status == 200 and (response.length or BLOCK + 1) <= BLOCK and not start:
            size = response.length or 0  # so small that ranges do not matter
        else:
            raise InvalidInputError("the server does not serve ranges", hint="download the file")
        if self.size not in (0, size):
            raise UnavailableError("the file changed while it was read")
        return size


@contextmanager
def _translated() -> Iterator[None]:
    """Our errors for those of the network; none names the URL, which may hold a token."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        kind = NotFoundError if error.code in (404, 410) else InvalidInputError
        raise kind(f"the server answered {error.code}") from None
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UnavailableError(f"the server does not answer: {reason}"[:200]) from None


@contextmanager
def open_media(where: str) -> Iterator[tuple[str, MediaBytes]]:
    """What to call *where*, a path or an http(s) URL, and its bytes.

    The name of a URL is its last path segment: the rest may hold a token.

    Raises:
        NotFoundError: There is no such file.
        InvalidInputError: It cannot be read.
    """
    if where.startswith(("http://", "https://")):
        yield Path(urlsplit(where).path).name or "/", HttpBytes(where)
        return
    path = Path(where)
    if path.exists() and not path.is_dir() and not path.is_file():
        raise InvalidInputError(f"{path} is no file that can be read twice")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}") from None
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        yield path.name, FileBytes(file)
