"""`presentation.json`: what is written is read again, and nothing else is."""

import contextlib
import dataclasses
import json
import re
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.errors import InvalidInputError
from core.model import (
    DrmProfile,
    DrmSignal,
    HlsKeyTag,
    KeyChange,
    KeyDescription,
    Loudness,
    Presentation,
    Rung,
    Scheme,
    Tier,
    Timing,
)
from packager.manifest import presentation
from tests.packager.manifest.examples import LADDER, rendition, track

sizes = st.integers(0, 2**40)
names = st.text(max_size=20)
levels = st.none() | st.floats(-200, 100, allow_nan=False)
loudnesses = st.builds(Loudness, levels, levels, levels, levels, levels)
tags = st.builds(
    HlsKeyTag,
    names,
    names,
    names,
    names,
    st.none() | st.binary(min_size=16, max_size=16),
    st.none() | st.uuids(),
)
drm_signals = st.builds(
    DrmSignal,
    st.uuids(),
    st.binary(max_size=40),
    st.lists(tags, max_size=2).map(tuple),
    st.none() | names,
    st.none() | names,
)


@st.composite
def presentations(draw):
    """Sealed presentations with everything drawn that `decode` does not tie together."""
    samples = draw(st.integers(48_000, 48_000_000))
    rungs = draw(st.lists(st.sampled_from(LADDER), unique_by=Rung.name.fget))
    schemes = draw(st.lists(st.sampled_from(Scheme), unique=True))
    signal_lists = st.lists(drm_signals, max_size=2).map(tuple)
    base = track(samples=samples, ladder=rungs, signals=lambda *_: draw(signal_lists))
    return presentation.seal(
        dataclasses.replace(
            base,
            title=draw(names),
            artist=draw(names),
            album_id=draw(st.none() | st.from_regex(ids.ALBUM_ID.pattern, fullmatch=True)),
            loudness=draw(loudnesses),
            album_loudness=draw(st.none() | loudnesses),
            timing=Timing(draw(st.integers(1, 192_000)), 0, draw(st.integers(1, 2**40)), 0),
            renditions=tuple(
                encrypted_otherwise(draw, rendition(rung, samples, schemes), base.keys)
                for rung in rungs
            ),
        )
    )


def encrypted_otherwise(draw, rendition, keys):
    """The same with a clear lead, a pattern and a change of keys in some files."""
    files = []
    for file in rendition.files:
        last = len(file.segment_sizes) - 1
        if file.kid is not None and last:
            segments = sorted(draw(st.sets(st.integers(1, last), max_size=3)))
            changes = [KeyChange(s, draw(st.sampled_from(keys)).kid) for s in segments]
            file = dataclasses.replace(  # noqa: PLW2901 - the next step of the same file
                file,
                clear_segments=draw(st.integers(0, last)),
                crypt_blocks=draw(st.sampled_from((0, 10))) if file.drm == "cbcs" else 0,
                key_changes=tuple(changes),
            )
        files.append(file)
    return dataclasses.replace(rendition, files=tuple(files))


@given(presentations())
def test_decode_undoes_encode(p):
    data = presentation.encode(p)

    assert presentation.decode(data) == p
    assert presentation.encode(presentation.decode(data)) == data


@given(st.binary(max_size=64) | st.text(max_size=64).map(str.encode))
def test_other_bytes_raise_nothing_but_our_error(data):
    with pytest.raises(InvalidInputError):
        presentation.decode(data)


def paths(tree, path=()):
    """Where to put something wrong: every place in *tree*."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from paths(value, (*path, key))
    if isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from paths(value, (*path, index))


def canonical(tree):
    """As `encode` writes it, whatever stands in it."""
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


SMALL = presentation.encode(track(samples=400_000, ladder=LADDER[:2]))
PLACES = list(paths(json.loads(SMALL)))
WRONG = [None, True, -1, 1.5, "\ud800", "", [], {}, [[]], 10**30, "0" * 16, float("inf")]


@given(st.sampled_from(PLACES[1:]), st.sampled_from(WRONG))
def test_a_damaged_field_is_refused_or_read_as_it_stands(place, wrong):
    tree = json.loads(SMALL)
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = wrong

    with contextlib.suppress(InvalidInputError):
        p = presentation.decode(canonical(tree))

        assert presentation.decode(presentation.encode(p)) == p


@given(st.sampled_from(PLACES[1:]))
def test_a_missing_field_is_refused(place):
    tree = json.loads(SMALL)
    parent = tree
    for key in place[:-1]:
        parent = parent[key]
    if isinstance(parent, dict):
        del parent[place[-1]]

        with pytest.raises(InvalidInputError):
            presentation.decode(canonical(tree))


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"format":1,"format":1}',
        b'{"format":2}',
        b'{"format":1}',
        b"NaN",
        b"9" * 10_000,
        b" " * (presentation.MAX_PRESENTATION_SIZE + 1),
        SMALL.replace(b'"title":', b'"tilte":'),
        SMALL.replace(b'"artist":', b'"artist":"","artist":'),
        SMALL.replace(b'"range_lu":6.5', b'"range_lu":NaN'),
        SMALL.replace(b'"range_lu":6.5', b'"range_lu":6.50'),
        SMALL.replace(b'"range_lu":6.5', b'"range_lu":1e-7'),
        SMALL.replace(b'"range_lu":6.5', b'"range_lu":6'),
        SMALL.replace(b'"range_lu":6.5', b'"range_lu":1e300'),
        SMALL.replace(b'"range_lu":6.5', b'"range_lu":1e999'),
        SMALL.replace(b":", b": ", 1),
        SMALL + b"\n",
        SMALL.replace(b"J.", b"\\u004a."),
        SMALL.replace(b"J.", b"\\ud800"),
        SMALL.replace(b"J.", b"\xed\xa0\x80"),
        re.sub(rb'"kid":"[0-9-]{36}"', lambda m: m[0].replace(b"-", b""), SMALL),
        re.sub(rb'"pssh":"([^"]+)"', rb'"pssh":"\1 "', SMALL),
        re.sub(rb'"period":0', rb'"period":-1', SMALL),
        re.sub(rb'"channels":2', rb'"channels":-2', SMALL),
        re.sub(rb'"channels":2', rb'"channels":9223372036854775808', SMALL),
        re.sub(rb'"channels":2', rb'"channels":true', SMALL),
        re.sub(rb'"format":1', rb'"clear_lead":0,"format":1', SMALL),
        SMALL.replace(b'"format":1', b'"format":1,"x":"\xff"'),
        SMALL.replace(b'"format":1', b'"format":1,"x":' + b"[" * 5000 + b"]" * 5000),
        SMALL.replace(b'"format":1', b'"format":"\\ud800"'),
    ],
    ids=lambda data: str(len(data)),
)
def test_a_hostile_file_is_refused(data):
    with pytest.raises(InvalidInputError, match="malformed presentation"):
        presentation.decode(data)


@pytest.mark.parametrize("level", [1e-07, -1e-05, 0.0, -0.0, 1.5, -70.0, 2.5e17])
def test_numbers_are_written_as_python_writes_them(level):
    p = presentation.seal(dataclasses.replace(track(), loudness=Loudness(level, *[None] * 4)))
    data = presentation.encode(p)

    assert f'"integrated_lufs":{level!r}'.encode() in data
    assert presentation.decode(data) == p


def test_whole_levels_and_those_of_numpy_are_levels():
    whole = dataclasses.replace(track(), loudness=Loudness(-14, np.float64(1.5), None, None, 0))

    assert presentation.decode(presentation.encode(presentation.seal(whole))).loudness == (
        Loudness(-14.0, 1.5, None, None, 0.0)
    )


def test_a_newer_format_is_named():
    with pytest.raises(InvalidInputError, match="format is not 1"):
        presentation.decode(SMALL.replace(b'"format":1', b'"format":2'))


def change(**fields):
    """A file of the first rendition with other *fields*."""
    p = track()
    first = p.renditions[0]
    file = dataclasses.replace(first.files[1], **fields)
    renditions = (
        dataclasses.replace(first, files=(first.files[0], file, *first.files[2:])),
        *p.renditions[1:],
    )
    return dataclasses.replace(p, renditions=renditions)


@pytest.mark.parametrize(
    ("p", "reason"),
    [
        (change(size=5), "do not add up"),
        (change(segment_sizes=(1,)), "as many sizes"),
        (change(peak_bps=1), "below the average"),
        (change(key="tracks/other/0/x.mp4"), "object key"),
        (change(kid=None), "only clear files have no key"),
        (change(kid=uuid.UUID(int=5)), "not described"),
        (dataclasses.replace(track(), generation="../../etc/passwd"), "no generation"),
        (dataclasses.replace(track(), track_id="a/b"), "no track id"),
        (dataclasses.replace(track(), renditions=track().renditions[:1] * 2), "named twice"),
        (dataclasses.replace(track(), timing=Timing(48_000, 0, 0, 0)), "timing is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_that_contradict_each_other_are_refused(p, reason):
    with pytest.raises(InvalidInputError, match=reason):
        presentation.decode(presentation.encode(p))


def test_segments_must_hold_exactly_the_music():
    p = track()
    first = p.renditions[0]
    timing = dataclasses.replace(first.timing, padding=first.timing.padding + 1)
    bad = dataclasses.replace(p, renditions=(dataclasses.replace(first, timing=timing),))

    with pytest.raises(InvalidInputError, match="priming, samples and padding"):
        presentation.decode(presentation.encode(bad))


def test_the_generation_stands_in_the_field_and_in_every_key():
    p = track()

    assert len(p.generation) == 16
    for r in p.renditions:
        for f in r.files:
            assert f.key == f"tracks/nocturne/{p.generation}/{f.drm}/{r.name}.mp4"
    assert presentation.seal(p) == p
    assert presentation.generation_of(p) == p.generation


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "another"},
        {"master_sha256": "00" * 32},
        {"renditions": track().renditions[:-1]},
        {"keys": tuple(dataclasses.replace(k, signals=()) for k in track().keys)},
        {"keys": (*track().keys, KeyDescription(uuid.UUID(int=7), Tier.LOW, Scheme.CBCS, ()))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_whatever_changes_changes_the_generation(fields):
    p = track()

    assert presentation.generation_of(dataclasses.replace(p, **fields)) != p.generation


def test_what_is_written_is_canonical_and_compact(golden):
    data = presentation.encode(track(samples=400_000, ladder=LADDER[:1]))

    assert b" " not in data.replace(b"J. Field & friends", b"").replace(
        b'Nocturne \\"No. 2\\"', b""
    )
    golden("manifest/presentation.json", data.decode())


def test_a_presentation_is_read_as_a_presentation():
    assert isinstance(presentation.decode(SMALL), Presentation)


def test_what_was_added_later_is_left_out_where_it_is_not_used():
    data = presentation.encode(track())

    assert b"clear_segments" not in data
    assert b"key_changes" not in data
    assert b"crypt_blocks" not in data


@pytest.mark.parametrize(
    "wrong",
    [
        {"clear_segments": 1000},
        {"crypt_blocks": 9},
        {"key_changes": (KeyChange(0, uuid.UUID(int=1)),)},
        {"key_changes": (KeyChange(1, uuid.UUID(int=1)),)},
    ],
)
def test_a_lead_or_a_key_that_cannot_be_is_refused(wrong):
    base = track()
    first = base.renditions[0]
    files = [
        dataclasses.replace(f, **wrong) if f.drm is DrmProfile.CBCS else f for f in first.files
    ]
    changed = dataclasses.replace(first, files=tuple(files))
    p = dataclasses.replace(base, renditions=(changed, *base.renditions[1:]))

    with pytest.raises(InvalidInputError):
        presentation.decode(presentation.encode(p))
