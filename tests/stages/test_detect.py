"""What a detection refuses before it does anything."""

import numpy as np
import pytest

from pipeline.errors import ConfigError, ModelError, StoreError
from pipeline.stages.detect import DetectSummary, detect_archive
from tests.sources.written import write_png


@pytest.fixture
def scans(tmp_path):
    write_png(tmp_path / "scans" / "a.png", np.zeros((64, 64), np.uint8))
    return tmp_path / "scans"


@pytest.mark.parametrize("out", ["scans", "scans/results", "elsewhere/../scans/results"])
def test_results_among_the_scans_are_refused_before_anything_is_read(tracked, scans, out):
    with pytest.raises(ConfigError, match=r"scans: results would be taken for scans; name another"):
        detect_archive("none/1", scans, scans.parent / out, tracked)
    assert not (tracked.home / "catalog.db").exists()


@pytest.mark.parametrize(("archive", "out"), [("scans/a.png", "scans/out"), (".", "tracked/results"), ("scans", ".")])
def test_results_beside_a_file_around_the_scans_or_in_the_home_folder_are_none_of_them(tracked, scans, archive, out):
    with pytest.raises(ModelError, match="no registered model 'none'"):  # which is looked at next
        detect_archive("none/1", scans.parent / archive, scans.parent / out, tracked)


def test_folder_that_cannot_be_written_is_told_before_anything_is_read(tracked, scans):
    (scans.parent / "notes").write_text("mine")
    with pytest.raises(StoreError, match=r"notes/out cannot be written \(Not a directory\): name another folder"):
        detect_archive("none/1", scans, scans.parent / "notes" / "out", tracked)


def test_the_fullest_overlay_is_one_that_could_be_drawn(tmp_path):
    scans = tuple({"volume_id": name, "detections": count} for name, count in (("a", 3), ("b", 12), ("c", 40)))
    summary = DetectSummary("cells/1", 0.5, tmp_path, scans, 55, 3, 0, {}, {}, {})
    assert summary.fullest_overlay() is None
    (tmp_path / "overlays").mkdir()
    for name in "ab":  # of c the volume is damaged
        (tmp_path / "overlays" / f"{name}.png").touch()
    assert summary.fullest_overlay() == tmp_path / "overlays" / "b.png"
