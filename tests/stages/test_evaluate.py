"""Other data than a version's own, where they hold nothing to score."""

import pytest

from pipeline.errors import DatasetError
from pipeline.stages.evaluate import evaluate_version


def test_folder_without_a_file_is_told_as_such(tracked, register, tmp_path):
    register(8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"holds 0 volumes of no kind there; the folder has no file"):
        evaluate_version("cells/1", tmp_path / "empty", tracked)


def test_folder_of_which_every_file_was_quarantined_is_told_with_the_first_reason(tracked, register, tmp_path):
    register(8)
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(DatasetError, match=r"; 1 of 1 files were quarantined, the first because: \w+"):
        evaluate_version("cells/1", folder, tracked)
