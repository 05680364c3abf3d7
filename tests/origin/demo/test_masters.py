"""What of the paths that a person names is played, and in which runs it is ingested."""

from pathlib import Path

import pytest

from origin.demo.masters import MAX_MASTERS, runs_for, select_masters


@pytest.fixture
def folder(tmp_path):
    for name in ("b.WAV", "a.flac", "sub/deep/c.mp3", "cover.jpg", "._a.flac", ".trash/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def test_folders_are_searched_for_audio_files_in_order(folder):
    selection = select_masters([folder])

    names = [str(path.relative_to(folder)) for path in selection.masters]
    assert names == ["a.flac", "b.WAV", "sub/deep/c.mp3"]
    assert not selection.refused


def test_a_file_that_is_named_is_tried_whatever_its_name_and_once(folder):
    named = folder / "cover.jpg"

    assert select_masters([named, folder, named]).masters[0] == named
    assert len(select_masters([named, folder, named]).masters) == 4


def test_a_file_that_is_missing_is_left_to_ingest(tmp_path):
    assert select_masters([tmp_path / "gone.wav"]).masters == [tmp_path / "gone.wav"]


def test_a_folder_without_audio_is_refused_with_what_was_looked_for(tmp_path):
    [refusal] = select_masters([tmp_path]).refused

    assert refusal.name == str(tmp_path)
    assert ".flac" in refusal.hint


def test_more_files_than_a_page_lists_are_left_out_and_counted(tmp_path):
    for number in range(MAX_MASTERS + 3):
        (tmp_path / f"{number:03}.wav").touch()

    selection = select_masters([tmp_path])

    assert len(selection.masters) == MAX_MASTERS
    assert [refusal.name for refusal in selection.refused] == ["3 more files"]


def test_names_that_make_no_id_of_their_own_are_given_one():
    masters = [Path("/m/a.wav"), Path("/m/夜の道.wav"), Path("/m/B.wav"), Path("/n/b.wav")]

    runs = runs_for(masters)

    assert runs[0].masters == (Path("/m/a.wav"),)
    assert [run.masters for run in runs[1:]] == [(path,) for path in masters[1:]]
    assert len({run.options for run in runs[1:]}) == 3
    assert all(run.options[0] == "--track-id" for run in runs[1:])
