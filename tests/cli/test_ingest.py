import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def archive(tmp_path):
    """One good picture, one that is cut off, one file that is no scan."""
    folder = tmp_path / "archive"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "good.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("no scan")
    return folder


def test_json_has_every_file_with_its_outcome(cellscan, archive):
    outcome = cellscan("ingest", archive, "--json")
    assert outcome.code == 0
    outcomes = {file["path"]: file["outcome"] for file in outcome.json["files"]}
    assert outcomes == {"good.png": "ingested", "broken.png": "quarantined", "notes.txt": "ignored"}
    assert outcome.stderr == ""


def test_every_quarantined_file_is_shown_with_its_reason(cellscan, archive):
    first, *others = cellscan("ingest", archive).stdout.splitlines()
    assert "3 files: 1 ingested, 1 ignored, 1 quarantined; 1 scans" in first
    (line,) = others
    assert line.startswith("  quarantined: broken.png: ")


def test_strict_exits_with_3_when_something_was_quarantined(cellscan, archive):
    assert cellscan("ingest", archive, "--strict").code == 3
    (archive / "broken.png").unlink()
    assert cellscan("ingest", archive, "--strict").code == 0


def test_doctor_counts_what_was_ingested(cellscan, archive):
    cellscan("ingest", archive)
    findings = {finding["topic"]: finding for finding in cellscan("doctor", "--json").json["findings"]}
    assert findings["catalog"]["facts"]["quarantined"] == 1


def test_a_folder_that_is_not_there_is_named(cellscan, tmp_path):
    outcome = cellscan("ingest", tmp_path / "none")
    assert outcome.code == 1
    assert str(tmp_path / "none") in outcome.stderr


def test_sample_does_not_write_over_another_folder(cellscan, archive):
    outcome = cellscan("sample", archive)
    assert outcome.code == 1
    assert "choose a folder that does not exist" in outcome.stderr
    assert (archive / "good.png").is_file()
