"""Answers to media requests: headers, parts, bodies. What is chosen is decided in `ranges`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from core.errors import ToolkitError
from core.web import problem
from origin.media.ranges import Conditions, Selection, Span, content_range

IMMUTABLE = "public, max-age=31536000, s-maxage=31536000, immutable"
"""Of what is named by its content: a year is the most that RFC 9111 caches honour."""
MANIFEST_EDGE_TTL_S = 300
"""How long edges keep manifests, give or take a tenth: their bytes depend on our settings."""


class PreconditionFailedError(ToolkitError):
    """If-Match names another representation."""

    status = 412
    slug = "precondition-failed"


class RangeNotSatisfiableError(ToolkitError):
    """No byte of the ranges asked for exists."""

    status = 416
    slug = "range-not-satisfiable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representation:
    """What would be sent in full: everything but its bytes.

    Attributes:
        etag: Strong, with its quotes; equal on all replicas.
        tags: Surrogate keys by which edges purge.
        negotiated: Whether Accept-Encoding chose it.
        encoding: Its Content-Encoding, or None.
    """

    etag: str
    size: int
    media_type: str
    cache_control: str
    tags: tuple[str, ...]
    negotiated: bool = False
    encoding: str | None = None

    def headers(self) -> dict[str, str]:
        """Those that 200, 206 and 304 share (RFC 9110, 15.3.7 and 15.4.5)."""
        headers = {
            "ETag": self.etag,
            "Cache-Control": self.cache_control,
            "Surrogate-Key": " ".join(self.tags),
            "Cache-Tag": ",".join(self.tags),
        }
        if self.cache_control is IMMUTABLE:
            headers["CDN-Cache-Control"] = IMMUTABLE
        if self.negotiated:
            headers["Vary"] = "Accept-Encoding"
        return headers


@dataclass(frozen=True, slots=True)
class Message:
    """Status, headers and the body as pieces: literal bytes, and spans of the representation."""

    status: int
    headers: dict[str, str]
    pieces: tuple[bytes | Span, ...]

    def body(self, whole: bytes) -> bytes:
        """The bytes to send, given those of the representation."""
        if self.pieces == ((0, len(whole)),):
            return whole
        return b"".join(
            piece if isinstance(piece, bytes) else whole[piece[0] : piece[1]]
            for piece in self.pieces
        )


def manifest_cache_control(etag: str) -> str:
    """Spread by the content's hash, so that not all manifests fall out of an edge at once."""
    spread = MANIFEST_EDGE_TTL_S // 10
    digest = hashlib.sha256(etag.encode()).digest()
    edge_ttl_s = MANIFEST_EDGE_TTL_S - spread + digest[0] * 2 * spread // 255
    return (
        f"public, max-age=60, s-maxage={edge_ttl_s}, "
        "stale-while-revalidate=60, stale-if-error=86400"
    )


def conditions_of(request: web.Request) -> Conditions:
    """The conditional fields of *request*."""

    def joined(name: str) -> str | None:
        lines = request.headers.getall(name, [])
        return ", ".join(lines) if lines else None

    return Conditions(
        if_match=joined("If-Match"),
        if_none_match=joined("If-None-Match"),
        if_range=joined("If-Range"),
        range=joined("Range"),
    )


def message(representation: Representation, selection: Selection) -> Message:
    """The 200 or 206 that *selection* asks for, with its Content-Length."""
    headers = representation.headers() | {"Accept-Ranges": "bytes"}
    content_type, size = representation.media_type, representation.size
    pieces: tuple[bytes | Span, ...] = selection.spans
    if len(selection.spans) > 1:
        boundary = hashlib.sha256(representation.etag.encode()).hexdigest()[:32]
        pieces = _multipart(representation, selection.spans, boundary)
        content_type = f"multipart/byteranges; boundary={boundary}"
    elif selection.status == 206:
        headers["Content-Range"] = content_range(selection.spans[0], size)
    headers["Content-Type"] = content_type
    if representation.encoding:
        headers["Content-Encoding"] = representation.encoding
    length = sum(len(p) if isinstance(p, bytes) else p[1] - p[0] for p in pieces)
    headers["Content-Length"] = str(length)
    return Message(selection.status, headers, pieces)


def without_content(representation: Representation, selection: Selection) -> web.Response:
    """The 304, 412 or 416 that *selection* asks for."""
    if selection.status == 304:
        return web.Response(status=304, headers=representation.headers())
    if selection.status == 412:
        return problem(PreconditionFailedError("this is not the representation you know"))
    answer = problem(RangeNotSatisfiableError("there are no such bytes"))
    answer.headers["Content-Range"] = f"bytes */{representation.size}"
    return answer


def _multipart(
    representation: Representation, spans: Sequence[Span], boundary: str
) -> tuple[bytes | Span, ...]:
    """RFC 9110, 14.6."""
    pieces: list[bytes | Span] = []
    for span in spans:
        head = (
            f"\r\n--{boundary}\r\nContent-Type: {representation.media_type}\r\n"
            f"Content-Range: {content_range(span, representation.size)}\r\n\r\n"
        )
        pieces += [head.encode(), span]
    return (*pieces, f"\r\n--{boundary}--\r\n".encode())
