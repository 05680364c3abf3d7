"""`GET /{token}/m/...`: manifests, segments and whole files.

The order is the promise: shape of the path, token, scope of the token, and only then catalogue and
store. Whoever holds no token learns nothing, not even by the time it takes.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from aiohttp import web

from core.errors import IntegrityError
from core.grants import UrlGrant, signature_error
from core.model import DrmProfile, MediaFile
from origin.dependencies import Origin
from origin.media import manifests
from origin.media.answers import (
    IMMUTABLE,
    Message,
    Representation,
    conditions_of,
    message,
    without_content,
)
from origin.media.library import Described, Library, rendition_named
from origin.media.manifests import Manifest
from origin.media.ranges import Selection, Span, select
from origin.shield.single_flight import SingleFlightCache, Source
from packager.manifest import places
from packager.manifest.options import ManifestOptions
from packager.manifest.places import Kind, MediaFileName, MediaPath, no_such_file

STALL_TIMEOUT_S = 30.0
"""How long a reader of a whole file may take for one chunk before it is cut off."""

_MP4_TYPE = "audio/mp4"


class _Wanted(NamedTuple):
    """What a request with a good token asks for."""

    path: MediaPath
    grant: UrlGrant
    file: MediaFileName
    drm: DrmProfile
    described: Described


class _Timings:
    """Phases of a request for Server-Timing; the loop's clock."""

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._last_s = self._now()
        self._phases: list[str] = []

    def phase(self, name: str) -> None:
        now_s = self._now()
        self._phases.append(f"{name};dur={(now_s - self._last_s) * 1000:.2f}")
        self._last_s = now_s

    def headers(self, source: Source | None) -> dict[str, str]:
        timing = {"Server-Timing": ", ".join(self._phases)}
        return timing | ({"Cache-Status": f"tonearm; {source}"} if source else {})


class Media:
    """The handlers of media URLs, and what they keep in memory."""

    def __init__(self, origin: Origin, library: Library) -> None:
        self._origin = origin
        self._library = library
        self._bodies: SingleFlightCache[tuple[str, Span], bytes] = SingleFlightCache(
            origin.limits.segment_cache_size, len
        )
        self._manifests: SingleFlightCache[tuple[str, ...], Manifest] = SingleFlightCache(
            origin.limits.manifest_cache_size, lambda manifest: manifest.size
        )

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one media request."""
        timings = _Timings()
        path = places.parse(request.rel_url.raw_path)
        grant = self._authorise(path)
        timings.phase("auth")
        file, drm = path.parse_file(), path.profile()
        if file.tier is not None and not grant.tier.includes(file.tier):
            raise signature_error()
        await self._library.check_standing(path.track_id)
        described = await self._library.describe(path.track_id, path.generation)
        wanted = _Wanted(path, grant, file, drm, described)
        if file.kind in (Kind.HLS_TIER, Kind.HLS_MEDIA, Kind.DASH_TIER):
            return await self._serve_manifest(request, wanted, timings)
        return await self._serve_file(request, wanted, timings)

    async def refuse(self, request: web.Request) -> web.StreamResponse:
        """Answer a media URL that has no token in front."""
        places.parse(request.rel_url.raw_path)
        raise signature_error()

    async def aclose(self) -> None:
        """End what is being fetched."""
        await self._bodies.aclose()
        await self._manifests.aclose()

    def _authorise(self, path: MediaPath) -> UrlGrant:
        grant = self._origin.url_signer.open(path.token, now_s=self._origin.clock())
        if (grant.track_id, grant.region) != (path.track_id, path.region):
            raise signature_error()
        return grant

    async def _serve_manifest(
        self, request: web.Request, wanted: _Wanted, timings: _Timings
    ) -> web.StreamResponse:
        path, file = wanted.path, wanted.file
        if file.kind is Kind.HLS_MEDIA:
            self._check_tier(wanted)

        async def make() -> Manifest:
            return manifests.render(
                wanted.described.presentation,
                wanted.drm,
                file,
                ManifestOptions(
                    license_base=self._origin.license_base, pathway_id=self._origin.base_pathway
                ),
                steering=self._origin.steering,
            )

        key = (path.track_id, path.generation, path.drm, path.file)
        manifest, source = await self._manifests.get(key, make)
        timings.phase("store")
        accepted = ", ".join(request.headers.getall("Accept-Encoding", []))
        representation, body = manifest.choose(accepted, _tags(path))
        selection = _selected(request, representation)
        if not selection.spans:
            return without_content(representation, selection)
        answer = message(representation, selection)
        return _in_memory(request, answer, body, timings.headers(source))

    async def _serve_file(
        self, request: web.Request, wanted: _Wanted, timings: _Timings
    ) -> web.StreamResponse:
        media = self._check_tier(wanted)
        span, representation = _locate(wanted, media)
        selection = _selected(request, representation)
        if not selection.spans:
            return without_content(representation, selection)
        answer = message(representation, selection)
        if request.method == "HEAD":
            return _in_memory(request, answer, b"", timings.headers(None))
        if wanted.file.kind is Kind.WHOLE:
            return await self._stream(request, wanted.described, media, answer, timings)
        body, source = await self._body(wanted.described, media, span)
        timings.phase("store")
        return _in_memory(request, answer, body, timings.headers(source))

    @staticmethod
    def _check_tier(wanted: _Wanted) -> MediaFile:
        """The file of the named rendition, if the grant goes that high."""
        rendition = rendition_named(wanted.described.presentation, wanted.file.name)
        if not wanted.grant.tier.includes(rendition.tier):
            raise signature_error()
        media = rendition.file(wanted.drm)
        if media is None:
            raise no_such_file()
        return media

    async def _body(
        self, described: Described, media: MediaFile, span: Span
    ) -> tuple[bytes, Source]:
        async def fetch() -> bytes:
            async with self._library.promised(described.presentation, media):
                body = await self._origin.store.get_range(media.key, *span)
            if len(body) != span[1] - span[0]:
                raise IntegrityError(f"{media.key} is shorter than it should be")
            return body

        return await self._bodies.get((media.key, span), fetch)

    async def _stream(
        self,
        request: web.Request,
        described: Described,
        media: MediaFile,
        answer: Message,
        timings: _Timings,
    ) -> web.StreamResponse:
        chunks = self._chunks(media, answer)
        try:
            # before the headers leave: what is archived or missing must still get its own status
            async with self._library.promised(described.presentation, media):
                first = await anext(chunks)
            timings.phase("store")
            response = web.StreamResponse(
                status=answer.status, headers=answer.headers | timings.headers(None)
            )
            await response.prepare(request)
            await _write(response, first)
            async for chunk in chunks:
                await _write(response, chunk)
            return response
        finally:
            await chunks.aclose()

    async def _chunks(self, media: MediaFile, answer: Message) -> AsyncGenerator[bytes, None]:
        """The body; its first chunk comes from the store, so that it tells whether there is one."""
        literal = b""
        for piece in answer.pieces:
            if isinstance(piece, bytes):
                literal += piece
                continue
            left = piece[1] - piece[0]
            stream = self._origin.store.stream(media.key, *piece)
            try:
                async for chunk in stream:
                    left -= len(chunk)
                    yield literal + chunk if literal else chunk
                    literal = b""
            finally:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            if left:
                raise IntegrityError(f"{media.key} is not as long as it should be")
        if literal:
            yield literal


def _selected(request: web.Request, representation: Representation) -> Selection:
    return select(
        request.method,
        conditions_of(request),
        etag=representation.etag,
        size=representation.size,
    )


def _locate(wanted: _Wanted, media: MediaFile) -> tuple[Span, Representation]:
    """Which bytes of its file are asked for, and under which entity tag."""
    number = wanted.file.number
    if wanted.file.kind is Kind.SEGMENT:
        span, part = wanted.described.segment_span(media, number), f"-{number}"
    elif wanted.file.kind is Kind.INIT:
        span, part = (0, media.init_size), "-init"
    else:
        span, part = (0, media.size), ""
    representation = Representation(
        etag=f'"sha256-{media.sha256[:32]}{part}"',
        size=span[1] - span[0],
        media_type=_MP4_TYPE,
        cache_control=IMMUTABLE,
        tags=_tags(wanted.path),
    )
    return span, representation


def _tags(path: MediaPath) -> tuple[str, ...]:
    return f"t/{path.track_id}", f"g/{path.generation}", f"r/{path.region}"


def _in_memory(
    request: web.Request, answer: Message, body: bytes, extra: dict[str, str]
) -> web.Response:
    if request.method == "HEAD":
        return web.Response(status=answer.status, headers=answer.headers | extra)
    return web.Response(
        status=answer.status, headers=answer.headers | extra, body=answer.body(body)
    )


async def _write(response: web.StreamResponse, chunk: bytes) -> None:
    async with asyncio.timeout(STALL_TIMEOUT_S):
        await response.write(chunk)
