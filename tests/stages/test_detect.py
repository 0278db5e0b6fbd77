"""What a detection refuses before it does anything."""

import numpy as np
import pytest

from pipeline.errors import ConfigError, ModelError
from pipeline.stages.detect import detect_archive
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
