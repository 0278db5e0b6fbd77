import numpy as np
import pytest

from tests.sources.written import SECONDARY_CAPTURE, dataset, oblique_slice, write


@pytest.fixture
def archive(tmp_path):
    """One slice, one screenshot, one file that is no scan."""
    folder = tmp_path / "archive"
    write(oblique_slice(0, np.zeros((4, 4), np.int16), StudyDate="20200115"), folder / "slice.dcm")
    write(dataset(np.zeros((4, 4), np.uint8), sop_class=SECONDARY_CAPTURE), folder / "screen.dcm")
    (folder / "notes.txt").write_text("no scan")
    return folder


def test_json_has_every_file_with_its_outcome(cellscan, archive, tmp_path):
    outcome = cellscan("deidentify", archive, tmp_path / "out", "--dates", "shift", "--json")
    assert outcome.code == 0
    files = {file["path"]: file for file in outcome.json["files"]}
    assert {path: file["outcome"] for path, file in files.items()} == {
        "slice.dcm": "written",
        "screen.dcm": "refused",
        "notes.txt": "ignored",
    }
    assert (tmp_path / "out" / files["slice.dcm"]["output"]).is_file()
    assert outcome.json["codes"] == ["113100", "113107"]


def test_screen_tells_reasons_and_what_to_look_at(cellscan, archive, tmp_path):
    head, where, *others = cellscan("deidentify", archive, tmp_path / "out").stdout.splitlines()
    assert "3 files: 1 written, 0 copy, 1 refused, 0 quarantined, 1 ignored; 1 studies of 1 patients" in head
    assert str(tmp_path / "out" / "report") in where
    assert others[0] == "  to look at: slice.dcm: BurnedInAnnotation is missing"
    assert others[1].startswith("  refused: screen.dcm: text may be burned into the pixels")


def test_strict_exits_with_3_when_a_file_was_refused(cellscan, archive, tmp_path):
    assert cellscan("deidentify", archive, tmp_path / "out", "--strict").code == 3
    assert cellscan("deidentify", archive, tmp_path / "other", "--strict", "--accept-burned-in").code == 0


def test_an_output_folder_inside_the_source_is_named(cellscan, archive):
    outcome = cellscan("deidentify", archive, archive / "out")
    assert outcome.code == 1
    assert "must lie apart" in outcome.stderr
    assert not (archive / "out").exists()
