"""Scans in zip and tar files: read like folders, with limits, and not opened again while nothing changed."""

import shutil
import tarfile
import zipfile

import numpy as np
import pytest

from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.sources.opening import Openings
from pipeline.sources.read import read_scans
from tests.sources.written import oblique_voxels, write_nifti, write_oblique_series, write_png

FIELD = np.arange(35, dtype=np.uint8).reshape(5, 7)


def _outcomes(summary):
    return {file.path: file.outcome for file in summary.files}


def _zip(path, folder):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                made.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def opened(monkeypatch):
    """Names of the archive files that are opened."""
    names = []
    real = Openings.open

    def open_(self, files, root):
        files = list(files)
        names.extend(file.path.name for file in files)
        return real(self, files, root)

    monkeypatch.setattr(Openings, "open", open_)
    return names


def _series_zip(archive, tmp_path):
    write_oblique_series(tmp_path / "made" / "deep" / "er", oblique_voxels())
    return _zip(archive / "scans.zip", tmp_path / "made")


def test_a_series_in_a_zip_is_a_volume_and_every_member_is_told(archive, settings, tmp_path):
    _series_zip(archive, tmp_path)
    summary = ingest(archive, settings)
    expected = {f"scans.zip/deep/er/IM000{n}.dcm": "ingested" for n in range(1, 7)}
    assert _outcomes(summary) == {"scans.zip": "ingested", **expected}
    (volume,) = Catalog.of(settings).volumes(archive)
    np.testing.assert_array_equal(volume.array[0], oblique_voxels())
    assert not any((settings.home / "unpacked").iterdir())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tars_are_read_too(archive, settings, tmp_path, mode):
    write_oblique_series(tmp_path / "made", oblique_voxels())
    suffix = mode.replace("w:", ".").replace("w", "")
    with tarfile.open(archive / f"scans.tar{suffix}", mode) as made:
        made.add(tmp_path / "made", "made")
    assert len(ingest(archive, settings).volume_ids) == 1


def test_an_unchanged_archive_file_is_not_opened_again(archive, settings, tmp_path, opened):
    _series_zip(archive, tmp_path)
    first = ingest(archive, settings)
    assert opened == ["scans.zip"]
    second = ingest(archive, settings)
    assert second.files == first.files
    assert second.unchanged == 7
    write_png(archive / "new.png", FIELD)
    third = ingest(archive, settings)
    assert third.unchanged == 7
    assert len(third.volume_ids) == 2
    assert opened == ["scans.zip"]


def test_a_slice_that_comes_outside_the_zip_completes_the_series_in_it(archive, settings, tmp_path, opened):
    write_oblique_series(tmp_path / "made", oblique_voxels())
    late = tmp_path / "made" / "IM0003.dcm"
    kept = late.read_bytes()
    late.unlink()
    _zip(archive / "scans.zip", tmp_path / "made")
    assert ingest(archive, settings).counts()["quarantined"] == 5
    (archive / "late.dcm").write_bytes(kept)
    summary = ingest(archive, settings)
    assert summary.counts()["ingested"] == 7
    assert len(summary.volume_ids) == 1
    assert opened == ["scans.zip", "scans.zip"]


def test_a_changed_archive_file_is_read_again_and_what_left_it_is_forgotten(archive, settings, tmp_path):
    write_png(tmp_path / "made" / "a.png", FIELD)
    write_png(tmp_path / "made" / "b.png", FIELD + 1)
    _zip(archive / "fields.zip", tmp_path / "made")
    ingest(archive, settings)
    (tmp_path / "made" / "a.png").unlink()
    write_png(tmp_path / "made" / "c.png", FIELD + 2)
    _zip(archive / "fields.zip", tmp_path / "made")
    summary = ingest(archive, settings)
    assert sorted(_outcomes(summary)) == ["fields.zip", "fields.zip/b.png", "fields.zip/c.png"]
    assert len(Catalog.of(settings).volumes(archive)) == 2


def test_a_removed_archive_file_takes_its_members_along(archive, settings, tmp_path):
    _series_zip(archive, tmp_path).unlink()
    ingest(archive, settings)
    _series_zip(archive, tmp_path)
    assert len(ingest(archive, settings).volume_ids) == 1
    (archive / "scans.zip").unlink()
    assert ingest(archive, settings).files == ()
    assert Catalog.of(settings).volumes(archive) == []


def test_archives_in_archives_are_opened_three_deep(archive, settings, tmp_path):
    folder = tmp_path / "0"
    write_png(folder / "field.png", FIELD)
    for level in range(1, 5):
        (tmp_path / str(level)).mkdir()
        _zip(tmp_path / str(level) / f"l{level}.zip", tmp_path / str(level - 1))
    shutil.copy(tmp_path / "3" / "l3.zip", archive / "three.zip")
    assert "three.zip/l2.zip/l1.zip/field.png" in _outcomes(ingest(archive, settings))
    shutil.copy(tmp_path / "4" / "l4.zip", archive / "four.zip")
    outcomes = _outcomes(ingest(archive, settings))
    assert outcomes["four.zip/l3.zip/l2.zip/l1.zip"] == "quarantined"


def test_a_bad_archive_file_is_quarantined_and_the_rest_goes_on(archive, settings):
    with zipfile.ZipFile(archive / "evil.zip", "w") as made:
        made.writestr("../../evil.png", b"x")
    (archive / "cut.zip").write_bytes(b"PK\x03\x04 cut")
    write_png(archive / "good.png", FIELD)
    summary = ingest(archive, settings)
    assert _outcomes(summary) == {"cut.zip": "quarantined", "evil.zip": "quarantined", "good.png": "ingested"}
    assert not list(archive.parent.glob("evil.png"))


def test_a_link_in_a_tar_is_told_and_costs_nothing_else(archive, settings, tmp_path):
    write_png(tmp_path / "field.png", FIELD)
    with tarfile.open(archive / "a.tar", "w") as made:
        made.add(tmp_path / "field.png", "field.png")
        link = tarfile.TarInfo("passwd.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    summary = ingest(archive, settings)
    assert _outcomes(summary) == {"a.tar": "ingested", "a.tar/field.png": "ingested", "a.tar/passwd.png": "quarantined"}
    assert "link" in next(file.reason for file in summary.files if file.path.endswith("passwd.png"))
    assert ingest(archive, settings).unchanged == 3


def test_annotations_in_a_zip_are_applied_and_stay_when_something_else_changes(archive, settings, tmp_path):
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    labels[1:3, 1:3, 1:2] = 1
    write_nifti(tmp_path / "made" / "images" / "a.nii.gz", oblique_voxels()[:6, :5, :4], np.eye(4))
    write_nifti(tmp_path / "made" / "labels" / "a.nii.gz", labels, np.eye(4))
    _zip(archive / "set.zip", tmp_path / "made")
    ingest(archive, settings)
    (volume,) = Catalog.of(settings).volumes(archive)
    assert volume.annotations.boxes.sizes.tolist() == [[2, 2, 1]]
    write_png(archive / "new.png", FIELD)
    ingest(archive, settings)
    kept = next(one for one in Catalog.of(settings).volumes(archive) if one.volume_id == volume.volume_id)
    assert len(kept.annotations) == 1


def test_the_archive_file_itself_can_be_named(archive, settings, tmp_path):
    path = _series_zip(archive, tmp_path)
    assert len(ingest(path, settings).volume_ids) == 1
    assert len(Catalog.of(settings).volumes(path)) == 1
    (scan,) = read_scans(path)
    np.testing.assert_array_equal(scan.image[0], oblique_voxels())
