"""The steps of a track are values in and values out: another process can do each of them."""

import multiprocessing
import pickle
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from core.errors import IntegrityError
from core.model import DrmProfile, Scheme, Tier
from ingest.encode.ladder import MUSIC, with_lossless
from ingest.encode.neighbours import edges, rolls
from ingest.encode.rungs import Order, encode
from ingest.encode.workspace import Workspace
from ingest.master.probe import hash_master, probe
from ingest.measure.album import album_loudness
from ingest.run.assemble import (
    PackagedRung,
    check_ivs,
    describe,
    package_orders,
    package_rung,
    release_of,
)
from ingest.run.current import is_twin, key_request
from ingest.run.plan import Options, beside, plan
from ingest.run.track import Admission
from packager.cmaf.verify import Verified
from tests.ingest.conftest import music, write_wav
from tests.packager.manifest.examples import track


def alike(one, other):
    """Whether two values are equal in every field; numpy's arrays have no such question."""
    if type(one) is not type(other):
        return False
    if is_dataclass(one):
        return all(alike(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


@pytest.fixture(scope="module")
def another_process():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda step, *arguments: pool.submit(step, *arguments).result()


@pytest.fixture
def album_plan(toolchain, tmp_path):
    """The plan of a track between two neighbours, with all that a plan can say."""
    paths = [write_wav(tmp_path / f"{n}.wav", music(2.0, seed=n)) for n in range(3)]
    options = Options(
        ladder=with_lossless(MUSIC), schemes=tuple(Scheme), album="Suite", regions=("eu", "us")
    )
    masters = [probe(path) for path in paths]
    both_ends = {n: edges(master, toolchain) for n, master in enumerate(masters, 1)}
    return beside(plan(masters[1], 2, options, toolchain), rolls(both_ends, 2))


def order_in(folder, album_plan, toolchain):
    folder.mkdir()
    return Order(
        album_plan.master,
        album_plan.fit.rungs,
        album_plan.rolls,
        toolchain,
        Workspace(folder),
    )


def test_every_value_that_a_step_takes_or_gives_can_be_pickled(
    album_plan, toolchain, parts, tmp_path
):
    master_sha256 = hash_master(album_plan.master)
    request = key_request(album_plan, None)
    keys = parts.key_source.keys(request)
    order = order_in(tmp_path / "work" / "one", album_plan, toolchain)
    encoded = encode(order)
    album = album_loudness([encoded.findings.heard])
    packaged = tmp_path / "packaged"
    package_all = package_orders(album_plan, encoded, keys, album, packaged)
    rungs = [package_rung(package) for package in package_all]
    check_ivs(rungs)
    presentation = describe(
        album_plan,
        master_sha256,
        encoded.findings,
        album_loudness=album,
        keys=keys,
        renditions=[rung.rendition for rung in rungs],
    )
    release = release_of(album_plan, presentation, encoded.findings, toolchain, packaged)
    admission = Admission(master_sha256, keys, presentation, presentation, encoded.findings.heard)
    values = {
        "plan": album_plan,
        "hash": master_sha256,
        "request": request,
        "keys": keys,
        "order": order,
        "encoded": encoded,
        "album": album,
        "packages": package_all,
        "rungs": rungs,
        "presentation": presentation,
        "release": release,
        "admission": admission,
    }

    changed = [
        name
        for name, value in values.items()
        if not alike(pickle.loads(pickle.dumps(value)), value)
    ]

    assert changed == []
    assert is_twin(presentation, album_plan, master_sha256, keys)


def test_another_process_encodes_measures_and_packages_the_same(
    album_plan, toolchain, parts, tmp_path, another_process
):
    keys = parts.key_source.keys(key_request(album_plan, None))
    here = encode(order_in(tmp_path / "here", album_plan, toolchain))
    there = another_process(encode, order_in(tmp_path / "there", album_plan, toolchain))

    assert [file.path.read_bytes() for file in there.files] == [
        file.path.read_bytes() for file in here.files
    ]
    at_home = [replace(file, path=tmp_path / "here" / file.path.name) for file in there.files]
    assert alike(replace(there, files=tuple(at_home)), here)
    for order in package_orders(album_plan, here, keys, None, tmp_path / "a"):
        elsewhere = replace(order, folder=tmp_path / "b")
        assert another_process(package_rung, elsewhere) == package_rung(order)
    written = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.mp4"))
    assert len(written) == 2 * len(album_plan.fit.rungs)
    for name in written:
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_another_process_hashes_and_probes_the_same(album_plan, another_process):
    path = album_plan.master.path

    assert another_process(hash_master, probe(path)) == hash_master(probe(path))
    assert another_process(probe, path) == probe(path)


def test_an_order_that_is_done_is_answered_without_an_encoder(album_plan, toolchain, tmp_path):
    order = order_in(tmp_path / "work", album_plan, toolchain)
    first = encode(order)

    no_ffmpeg = replace(toolchain, ffmpeg=tmp_path / "nowhere")
    second = encode(replace(order, toolchain=no_ffmpeg))

    assert second.fresh == ()
    assert alike(replace(second, fresh=first.fresh), first)


@pytest.mark.parametrize(
    ("second", "overlap"),
    [
        (("low", "cenc", 100), False),
        (("low", "cenc", 99), True),
        (("low", "cenc", 0), True),
        (("high", "cenc", 0), False),  # a tier has a key of its own
        (("low", "cbcs", 0), False),  # a constant IV is the scheme's own
    ],
)
def test_two_rungs_under_one_key_share_no_iv(second, overlap):
    def rung(tier, drm, first_iv):
        [rendition, *_] = track().renditions
        verified = {DrmProfile(drm): Verified(100, first_iv)}
        return PackagedRung(replace(rendition, tier=Tier(tier)), verified)

    rungs = [rung("low", "cenc", 0), rung(*second)]

    if overlap:
        with pytest.raises(IntegrityError, match="IVs of the tier low overlap"):
            check_ivs(rungs)
    else:
        check_ivs(rungs)


def test_keys_of_an_order_stay_out_of_its_repr(album_plan, toolchain, parts, tmp_path):
    keys = parts.key_source.keys(key_request(album_plan, None))
    encoded = encode(order_in(tmp_path / "order", album_plan, toolchain))

    [order, *_] = package_orders(album_plan, encoded, keys, None, tmp_path)

    assert order.keys
    assert not any(repr(key.key)[2:-1] in repr(order) for key in order.keys)
