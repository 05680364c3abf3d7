"""Manifests of an album: its tracks' manifests, one after the other.

A Period per track in DASH, a discontinuity per track in HLS; all are about byte ranges of the
tracks' own files, so that an album costs a few kilobytes and no media. They
lead to the tracks by relative URLs.

Nothing says `period-connectivity` or `period-continuity`: both promise that one initialisation
segment fits both Periods (ISO/IEC 23009-1, 5.3.2.4), and each track has keys, a length and a
loudness of its own in its `moov`.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from uuid import UUID

from core import ids
from core.errors import ConflictError, InvalidInputError
from core.model import DrmProfile, KeyDescription, MediaFile, Presentation, Rendition, Tier
from packager.manifest import dash, hls
from packager.manifest.options import ManifestOptions, keys_of, listed
from packager.manifest.places import (
    ALBUM,
    album_name,
    album_prefix,
    album_to_media,
    dash_name,
    hls_name,
)
from packager.manifest.timeline import length_us


@dataclass(frozen=True, slots=True)
class Album:
    """Tracks that are heard one after the other, each a presentation with the same renditions."""

    album_id: str
    tracks: tuple[Presentation, ...]


def album_of(album_id: str, tracks: Sequence[Presentation], *, common: bool = False) -> Album:
    """The album of *tracks*.

    Args:
        album_id: Stands in object keys.
        tracks: In the order in which they are heard.
        common: Leave out renditions that not all tracks have, instead of refusing.

    Raises:
        InvalidInputError: There are no tracks, or the id cannot stand in a key.
        ConflictError: The tracks have no rendition in common, or, unless *common*, not the same.
    """
    if not tracks:
        raise InvalidInputError(f"the album {album_id} has no tracks")
    ids.ALBUM_ID.check(album_id)
    every = list(dict.fromkeys(_identity(r) for track in tracks for r in track.renditions))
    shared = [i for i in every if all(i in map(_identity, t.renditions) for t in tracks)]
    if not shared or (len(shared) < len(every) and not common):
        raise ConflictError(
            f"the tracks of {album_id} differ: {_difference(tracks, every)}",
            hint="ingest them with one ladder, or list only --common renditions",
        )

    def kept(track: Presentation) -> Presentation:
        by_identity = {_identity(r): r for r in track.renditions}
        return replace(track, renditions=tuple(by_identity[i] for i in shared))

    return Album(album_id, tuple(kept(track) for track in tracks))


def album_manifests(
    album: Album, profiles: Sequence[DrmProfile], options: ManifestOptions
) -> dict[str, str]:
    """Object key to text of all manifests, and of `album.json`, which stands last.

    The keys hold a hash of all the texts: an album that changes gets new keys.

    Raises:
        ConflictError: A track was not made in one of *profiles*.
    """
    texts = {
        album_name(drm, name): text
        for drm in profiles
        for name, text in _of_profile(album, drm, options).items()
    }
    texts[ALBUM] = _description(album, profiles)
    digest = hashlib.sha256(json.dumps(sorted(texts.items())).encode()).hexdigest()[:16]
    prefix = album_prefix(album.album_id, digest)
    return {f"{prefix}{name}": text for name, text in texts.items()}


def _of_profile(album: Album, drm: DrmProfile, options: ManifestOptions) -> dict[str, str]:
    for track in album.tracks:
        if lacking := [r.name for r in track.renditions if r.file(drm) is None]:
            raise ConflictError(
                f"track {track.track_id} has no {drm} file of {', '.join(lacking)}",
                hint="ingest all tracks with the same --scheme, or choose one that all have",
            )
    first = album.tracks[0]
    tiers = [tier for tier in Tier if any(r.tier is tier for r in first.renditions)]
    texts = {}
    for tier in tiers:
        texts[hls_name(tier)] = multivariant(album, drm, tier, options)
        texts[dash_name(tier)] = mpd(album, drm, tier, options)
    for rendition in first.renditions:
        texts[hls_name(rendition.name)] = media(album, drm, rendition.name, options)
    return texts


def mpd(album: Album, drm: DrmProfile, tier: Tier, options: ManifestOptions) -> str:
    """One Period per track, each of the track's exact length, back to back."""
    lengths = [length_us(track.timing) for track in album.tracks]
    longest = max(dash.longest_us(track, drm, tier) for track in album.tracks)
    root = dash.head("on-demand", sum(lengths), longest)
    for track, start_us in zip(album.tracks, accumulate([0, *lengths[:-1]]), strict=True):
        period = dash.period(
            track,
            drm,
            tier,
            _beside(track, drm, options),
            "on-demand",
            period_id=track.track_id,
            start_us=start_us,
        )
        dash.add_loudness(period, track)
        root.append(period)
    return dash.rendered(root)


def multivariant(album: Album, drm: DrmProfile, tier: Tier, options: ManifestOptions) -> str:
    """One variant stream per rendition, with what the largest of its tracks has."""
    lines = ["#EXTM3U", f"#EXT-X-VERSION:{hls.VERSION}", "#EXT-X-INDEPENDENT-SEGMENTS"]
    keys: dict[UUID, KeyDescription] = {}
    for number, track in enumerate(album.tracks, 1):
        for rendition, file in listed(track, drm, tier):
            name = f"{hls.GAPLESS_DATA_ID}.{rendition.name}.{number}"
            lines.append(f'#EXT-X-SESSION-DATA:DATA-ID="{name}",VALUE="{hls.gapless(rendition)}"')
            keys |= {key.kid: key for key in keys_of(track, file)}
        if value := hls.loudness_value(track):
            name = f"{hls.LOUDNESS_DATA_ID}.{number}"
            lines.append(f'#EXT-X-SESSION-DATA:DATA-ID="{name}",VALUE="{value}"')
    for key in keys.values():
        lines += hls.session_key_lines(key, options)
    for rendition, file in listed(album.tracks[0], drm, tier):
        whole = _bitrates(album, drm, rendition, file)
        finest = max(_same(album, rendition), key=lambda r: (r.sample_rate, r.bit_depth or 0))
        lines += hls.variant_lines(finest, whole, replace(options, media_prefix=""))
    return "\n".join(lines) + "\n"


def media(album: Album, drm: DrmProfile, rendition: str, options: ManifestOptions) -> str:
    """The tracks' playlists, one after the other, with a discontinuity where one begins.

    METHOD=NONE ends a track's keys: the next init segment is in the clear, and hls.js would add
    the next track's identity tag to the keys of this one.
    """
    parts = [
        hls.media(track, drm, rendition, _beside(track, drm, options), "byterange").splitlines()
        for track in album.tracks
    ]
    begin = next(i for i, line in enumerate(parts[0]) if line.startswith("#EXT-X-MAP"))
    lines = [_longest(parts, at) for at in range(begin)]
    for number, part in enumerate(parts):
        if number:
            lines.append("#EXT-X-DISCONTINUITY")
            lines += ["#EXT-X-KEY:METHOD=NONE"] * (drm is not DrmProfile.CLEAR)
        lines += part[begin:-1]
    return "\n".join([*lines, parts[0][-1]]) + "\n"


def _same(album: Album, rendition: Rendition) -> list[Rendition]:
    """That rendition of every track."""
    return [r for track in album.tracks for r in track.renditions if r.name == rendition.name]


def _longest(parts: list[list[str]], at: int) -> str:
    """A line of the playlists' heads: all are equal but the target duration; the largest counts."""
    return max((part[at] for part in parts), key=lambda line: (len(line), line))


def _bitrates(album: Album, drm: DrmProfile, rendition: Rendition, file: MediaFile) -> MediaFile:
    """*file* with the peak and the average of the whole album."""
    peak, bits, seconds = 0, 0.0, 0.0
    for track in album.tracks:
        for same, its in listed(track, drm, rendition.tier):
            if same.name == rendition.name:
                peak = max(peak, its.peak_bps)
                bits += its.average_bps * track.timing.duration_s
                seconds += track.timing.duration_s
    return replace(file, peak_bps=peak, average_bps=min(peak, round(bits / seconds)))


def _beside(track: Presentation, drm: DrmProfile, options: ManifestOptions) -> ManifestOptions:
    """*options* for URLs from an album's manifest to a track's files."""
    folder = album_to_media(track.track_id, track.generation, drm)
    return replace(options, media_prefix=folder, steering_uri=None)


def _description(album: Album, profiles: Sequence[DrmProfile]) -> str:
    """What an app shows, and the gapless numbers for one that joins the files itself."""
    tracks = [
        {
            "track_id": track.track_id,
            "generation": track.generation,
            "title": track.title,
            "artist": track.artist,
            "samples": track.timing.samples,
            "sample_rate": track.timing.timescale,
            "gapless": {
                r.name: {
                    "timescale": r.timing.timescale,
                    "priming": r.timing.priming,
                    "samples": r.timing.samples,
                    "padding": r.timing.padding,
                }
                for r in track.renditions
            },
        }
        for track in album.tracks
    ]
    document = {"album_id": album.album_id, "drm": [str(p) for p in profiles], "tracks": tracks}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _identity(rendition: Rendition) -> tuple[str, str, Tier]:
    """What must be equal for two tracks' renditions to be one of the album."""
    return rendition.name, rendition.codecs, rendition.tier


def _difference(tracks: Sequence[Presentation], every: list[tuple[str, str, Tier]]) -> str:
    lacking = {
        track.track_id: [i[0] for i in every if i not in map(_identity, track.renditions)]
        for track in tracks
    }
    said = [f"{track_id} has no {', '.join(names)}" for track_id, names in lacking.items() if names]
    return "; ".join(said[:5])
