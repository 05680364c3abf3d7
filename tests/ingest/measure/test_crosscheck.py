"""The second opinion of a report: when it is asked, what it says, and that it can disagree."""

import pytest

from ingest.measure.crosscheck import MAX_DURATION_S, TOLERANCE_LU, crosscheck
from tests.ingest.conftest import music, write_wav


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    return write_wav(tmp_path_factory.mktemp("song") / "song.wav", music(3.0))


@pytest.fixture(scope="module")
def opinion(song, toolchain):
    """What pyloudnorm says of the song."""
    return crosscheck(song, -20.0, 3.0, ffmpeg=toolchain.ffmpeg)["integrated_lufs"]


def test_meters_agree_within_a_tenth_of_a_decibel(song, opinion, toolchain):
    near = crosscheck(song, opinion + 0.9 * TOLERANCE_LU, 3.0, ffmpeg=toolchain.ffmpeg)
    far = crosscheck(song, opinion + 2 * TOLERANCE_LU, 3.0, ffmpeg=toolchain.ffmpeg)

    assert near == {"meter": "pyloudnorm", "integrated_lufs": opinion, "agrees": True}
    assert far["agrees"] is False


@pytest.mark.parametrize("channels", [1, 6])
def test_a_master_is_heard_as_the_encoders_hear_it(tmp_path, toolchain, channels):
    path = write_wav(tmp_path / "song.wav", music(3.0, channels=channels))

    answer = crosscheck(path, -20.0, 3.0, ffmpeg=toolchain.ffmpeg)

    assert -40 < answer["integrated_lufs"] < 0


def test_what_was_not_measured_is_not_checked(song, toolchain):
    assert crosscheck(song, None, 3.0, ffmpeg=toolchain.ffmpeg) == {
        "skipped": "nothing was measured"
    }


def test_a_long_master_is_not_held_in_memory(song, toolchain):
    answer = crosscheck(song, -20.0, MAX_DURATION_S + 1, ffmpeg=toolchain.ffmpeg)

    assert answer == {"skipped": f"longer than {MAX_DURATION_S} s"}


def test_a_master_that_has_gone_meanwhile_is_no_error(tmp_path, toolchain):
    answer = crosscheck(tmp_path / "gone.wav", -20.0, 3.0, ffmpeg=toolchain.ffmpeg)

    assert "cannot be read" in answer["skipped"]
