"""HLS playlists of a presentation (RFC 8216; steering as in draft-pantos-content-steering).

Plain variant streams, one per rendition, without EXT-X-MEDIA groups: players then see one track
per codec with all its bitrates, where a shared group of several codecs breaks them. All URLs are
relative to the playlist, so they inherit the token in its path.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from core.errors import InvalidInputError, NotFoundError
from core.model import (
    DrmProfile,
    HlsKeyTag,
    KeyDescription,
    MediaFile,
    Presentation,
    Rendition,
    Tier,
)
from packager.manifest.options import ManifestOptions, keys_of, listed
from packager.manifest.places import hls_name, init_name, segment_name, whole_name
from packager.manifest.timeline import MICROSECONDS, hls_durations_us

Layout = Literal["segments", "byterange"]

VERSION = 6  # EXT-X-MAP in a media playlist needs 6, KEYFORMAT 5 (RFC 8216, section 7)

_NO_KEY = "#EXT-X-KEY:METHOD=NONE"
IDENTITY = "identity"  # the KEYFORMAT of a bare key (RFC 8216, 4.3.2.4)

GAPLESS_DATA_ID = "org.tonearm.gapless"
LOUDNESS_DATA_ID = "org.tonearm.loudness"

_SPELLING = {"flac": "fLaC", "opus": "Opus"}  # Safari takes no other case
_QUOTABLE = re.compile(r'[^"\r\n\0]*')


def multivariant(p: Presentation, drm: DrmProfile, tier: Tier, options: ManifestOptions) -> str:
    """The playlist `{tier}.m3u8`: one variant stream per rendition that *tier* includes.

    Raises:
        NotFoundError: The track has no such rendition.
    """
    pairs = listed(p, drm, tier)
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if options.steering_uri is not None:
        lines.append(
            f"#EXT-X-CONTENT-STEERING:SERVER-URI={_quoted(options.steering_uri)},"
            f"PATHWAY-ID={_quoted(options.pathway_id)}"
        )
    lines += _session_data(p, pairs)
    keys = {key.kid: key for _, file in pairs for key in keys_of(p, file)}
    lines += [line for key in keys.values() for line in session_key_lines(key, options)]
    for rendition, file in pairs:
        lines += variant_lines(rendition, file, options)
    return _text(lines)


def variant_lines(rendition: Rendition, file: MediaFile, options: ManifestOptions) -> list[str]:
    """The variant stream of a rendition."""
    return [
        f"#EXT-X-STREAM-INF:{_variant_attributes(rendition, file, options)}",
        options.media_prefix + hls_name(rendition.name),
    ]


def media(  # noqa: PLR0913 - a rendition, and all that its playlist depends on
    p: Presentation,
    drm: DrmProfile,
    rendition: str,
    options: ManifestOptions,
    layout: Layout = "segments",
    *,
    whole: Sequence[HlsKeyTag | None] = (),
) -> str:
    """The playlist `{rendition}.m3u8`; its EXTINFs add up to the track's exact length.

    Args:
        p: The presentation.
        drm: Which of the rendition's files.
        rendition: Its name.
        options: Of the server.
        layout: Whether segments have URLs of their own.
        whole: The tag of each segment where segments are encrypted as a whole; None in the clear.

    Raises:
        NotFoundError: There is no such rendition, or not in this protection.
    """
    listed_rendition = p.rendition(rendition)
    file = listed_rendition.file(drm) if listed_rendition else None
    if listed_rendition is None or file is None:
        raise NotFoundError(f"no {drm} rendition {rendition}")
    seconds = hls_durations_us(listed_rendition)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{VERSION}",
        f"#EXT-X-TARGETDURATION:{max(_nearest_second(us) for us in seconds)}",
        "#EXT-X-MEDIA-SEQUENCE:1",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
    ]
    url = options.media_prefix + listed_rendition.name
    # Before the key tags: the init segment is in the clear (RFC 8216, 4.3.2.5).
    lines.append(_map(url, file, layout))
    changes = _whole_changes(whole, options) if whole else _key_changes(p, file, options)
    lines += _segments(url, file, seconds, changes, layout)
    lines.append("#EXT-X-ENDLIST")
    return _text(lines)


def codecs(rendition: Rendition) -> str:
    """The CODECS attribute's spelling of *rendition*'s codec."""
    return _SPELLING.get(rendition.codecs.lower(), rendition.codecs)


def _variant_attributes(rendition: Rendition, file: MediaFile, options: ManifestOptions) -> str:
    """Of EXT-X-STREAM-INF.

    What lossless audio is beyond its codec has attributes of EXT-X-MEDIA (rfc8216bis, 4.4.6.1). A
    group for it stops players that were tried, see docs/packaging.md; an attribute that a client
    does not know is one that it ignores (RFC 8216, 4.2), and pages can read it.
    """
    attributes = [
        f"BANDWIDTH={file.peak_bps}",
        f"AVERAGE-BANDWIDTH={file.average_bps}",
        f"CODECS={_quoted(codecs(rendition))}",
        f"STABLE-VARIANT-ID={_quoted(rendition.name)}",
    ]
    if rendition.bit_depth:
        attributes.append(f'CHANNELS="{rendition.channels}"')
        attributes.append(f"SAMPLE-RATE={rendition.sample_rate}")
        attributes.append(f"BIT-DEPTH={rendition.bit_depth}")
    if options.steering_uri is not None:
        attributes.append(f"PATHWAY-ID={_quoted(options.pathway_id)}")
    return ",".join(attributes)


def _session_data(p: Presentation, pairs: list[tuple[Rendition, MediaFile]]) -> Iterator[str]:
    for rendition, _ in pairs:
        data_id = f"{GAPLESS_DATA_ID}.{rendition.name}"
        value = gapless(rendition)
        yield f"#EXT-X-SESSION-DATA:DATA-ID={_quoted(data_id)},VALUE={_quoted(value)}"
    if value := loudness_value(p):
        yield f"#EXT-X-SESSION-DATA:DATA-ID={_quoted(LOUDNESS_DATA_ID)},VALUE={_quoted(value)}"


def gapless(rendition: Rendition) -> str:
    """The gapless numbers as `name=number` pairs."""
    t = rendition.timing
    return f"timescale={t.timescale} priming={t.priming} samples={t.samples} padding={t.padding}"


def loudness_value(p: Presentation) -> str:
    """Loudness as `name=number` pairs, track first, then album; empty for silence."""
    numbers = [
        ("integrated-lufs", p.loudness.integrated_lufs),
        ("range-lu", p.loudness.range_lu),
        ("true-peak-dbtp", p.loudness.true_peak_dbtp),
    ]
    if p.album_loudness is not None:
        numbers.append(("album-integrated-lufs", p.album_loudness.integrated_lufs))
        numbers.append(("album-true-peak-dbtp", p.album_loudness.true_peak_dbtp))
    return " ".join(f"{name}={value:.2f}" for name, value in numbers if value is not None)


def _tags(key: KeyDescription) -> tuple[list[HlsKeyTag], list[HlsKeyTag]]:
    """The identity tags, and all others."""
    tags = [tag for signal in key.signals for tag in signal.hls]
    return (
        [tag for tag in tags if tag.keyformat == IDENTITY],
        [tag for tag in tags if tag.keyformat != IDENTITY],
    )


def session_key_lines(key: KeyDescription, options: ManifestOptions) -> Iterator[str]:
    """Once per key and format; not `identity`: Shaka would file it under KID 0."""
    for tag in _tags(key)[1]:
        yield f"#EXT-X-SESSION-KEY:{_key_attributes(tag, options)}"


def _key_lines(key: KeyDescription, options: ManifestOptions, *, bare: bool) -> Iterator[str]:
    """The key tags of a media playlist, in the order in which every player finds its own.

    Shaka Player knows ClearKey only as `identity` and collects every tag it meets. hls.js knows it
    as `org.w3.clearkey`, but an identity tag in force makes it blind to all others when METHOD is
    SAMPLE-AES. So identity stands first and is cancelled: METHOD=NONE has no KEYFORMAT, that is
    the identity one (RFC 8216, 4.3.2.4), and the tags behind it are the ones in force.

    Without *bare* there is no identity tag: where keys change, Shaka would take the last one for
    all segments and play noise.
    """
    identity, others = _tags(key)
    identity = identity if bare else []
    for tag in identity:
        yield f"#EXT-X-KEY:{_key_attributes(tag, options)}"
    if identity and others:
        yield _NO_KEY
    for tag in others:
        yield f"#EXT-X-KEY:{_key_attributes(tag, options)}"


def _key_attributes(tag: HlsKeyTag, options: ManifestOptions) -> str:
    attributes = [f"METHOD={tag.method}", f"URI={_quoted(options.license_url(tag.uri))}"]
    if tag.iv is not None:
        attributes.append(f"IV=0x{tag.iv.hex().upper()}")
    if tag.keyid is not None:
        attributes.append(f"KEYID=0x{tag.keyid.hex.upper()}")
    attributes.append(f"KEYFORMAT={_quoted(tag.keyformat)}")
    attributes.append(f"KEYFORMATVERSIONS={_quoted(tag.keyformatversions)}")
    return ",".join(attributes)


def _map(url: str, file: MediaFile, layout: Layout) -> str:
    if layout == "segments":
        return f'#EXT-X-MAP:URI="{init_name(url)}"'
    return f'#EXT-X-MAP:URI="{whole_name(url)}",BYTERANGE="{file.init_size}@0"'


def _key_changes(
    p: Presentation, file: MediaFile, options: ManifestOptions
) -> dict[int, list[str]]:
    """The tags that stand before a segment, the first being 1, because its key is another one."""
    lines_before: dict[int, list[str]] = {}
    if file.clear_segments:
        lines_before[1] = [_NO_KEY]
    keys = keys_of(p, file)
    starts = [0, *(change.segment for change in file.key_changes)]
    ends = [*starts[1:], len(file.segment_sizes)]
    for key, start, end in zip(keys, starts, ends, strict=False):  # no key in the clear
        if end > file.clear_segments:
            # hls.js adds tags to the keys of earlier segments, too, until all keys are ended
            end_others = [_NO_KEY] * (start > file.clear_segments)
            at = max(start, file.clear_segments) + 1
            lines_before[at] = [*end_others, *_key_lines(key, options, bare=len(keys) == 1)]
    return lines_before


def _whole_changes(
    whole: Sequence[HlsKeyTag | None], options: ManifestOptions
) -> dict[int, list[str]]:
    """A tag before each segment, because each has an IV of its own; one for a clear lead."""
    lines_before: dict[int, list[str]] = {}
    for number, tag in enumerate(whole, start=1):
        if tag is not None:
            lines_before[number] = [f"#EXT-X-KEY:{_key_attributes(tag, options)}"]
        elif number == 1:
            lines_before[number] = [_NO_KEY]
    return lines_before


def _segments(
    url: str, file: MediaFile, seconds: list[int], changes: dict[int, list[str]], layout: Layout
) -> Iterator[str]:
    offset = file.init_size + file.index_size
    for number, (us, size) in enumerate(zip(seconds, file.segment_sizes, strict=True), start=1):
        yield from changes.get(number, ())
        yield f"#EXTINF:{us // MICROSECONDS}.{us % MICROSECONDS:06d},"
        if layout == "segments":
            yield segment_name(url, number)
        else:
            yield f"#EXT-X-BYTERANGE:{size}@{offset}"
            yield whole_name(url)
        offset += size


def _nearest_second(us: int) -> int:
    return (us + MICROSECONDS // 2) // MICROSECONDS


def _quoted(value: str) -> str:
    """A quoted-string (RFC 8216, 4.2): quotes and line breaks cannot be escaped in it."""
    if not _QUOTABLE.fullmatch(value):
        raise InvalidInputError(f"{value!r} cannot stand in a playlist")
    return f'"{value}"'


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
