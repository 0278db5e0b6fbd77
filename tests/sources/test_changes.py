"""What a later ingest says must be what a fresh one would say, also after a run that was killed or could not read."""

import os
import shutil

import numpy as np
import pydicom
import pytest

from pipeline.errors import StoreError
from pipeline.sources import ingest as module
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.volumes import arrays
from tests.sources.written import oblique_voxels, write_nifti, write_oblique_series, write_png

_NRRD = (
    "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 4 3 2\nencoding: raw\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\ndata file: a.raw\n\n"
)


def _outcomes(summary):
    return {file.path: file.outcome for file in summary.files}


def _killed(*_):
    raise KeyboardInterrupt


def test_run_that_is_killed_after_a_slice_went_leaves_no_volume_that_looks_whole(archive, settings, monkeypatch):
    write_oblique_series(archive, oblique_voxels())
    ingest(archive, settings)
    (archive / "IM0003.dcm").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(module._Run, "_read", _killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(archive, settings)
    summary = ingest(archive, settings)
    assert set(_outcomes(summary).values()) == {"quarantined"}
    assert not summary.volume_ids


def test_detached_header_is_read_again_when_its_voxels_change_go_and_come(archive, settings):
    (archive / "a.nhdr").write_text(_NRRD)
    (archive / "a.raw").write_bytes(bytes(range(24)))
    first = ingest(archive, settings).volume_ids
    (archive / "a.raw").write_bytes(bytes(range(1, 25)))
    os.utime(archive / "a.raw", (1, 1))
    second = ingest(archive, settings).volume_ids
    assert len(first) == len(second) == 1
    assert first != second
    (archive / "a.raw").unlink()
    assert _outcomes(ingest(archive, settings)) == {"a.nhdr": "quarantined"}
    (archive / "a.raw").write_bytes(bytes(range(24)))
    assert ingest(archive, settings).volume_ids == first


def test_part_is_said_no_more_when_the_other_volume_of_the_series_went(archive, settings):
    for number, folder in enumerate(("a", "b")):
        write_oblique_series(archive / folder, oblique_voxels(seed=number), Modality="MR", EchoTime=str(5 + number))
    for number, path in enumerate(sorted((archive / "b").iterdir())):
        made = pydicom.dcmread(path)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{number}"
        made.save_as(path)
    ingest(archive, settings)
    catalog = Catalog.of(settings)
    assert {one.attributes["part"] for one in catalog.volumes()} == {"echo time 5 ms", "echo time 6 ms"}
    shutil.rmtree(archive / "b")
    ingest(archive, settings)
    (left,) = catalog.volumes()
    assert "part" not in left.attributes


def test_folder_that_cannot_be_opened_loses_no_file(archive, settings, monkeypatch):
    write_oblique_series(archive / "shut", oblique_voxels())
    first = ingest(archive, settings)

    def scandir(path, real=os.scandir):
        if str(path).endswith("shut"):
            raise PermissionError
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        second = ingest(archive, settings)
    assert _outcomes(second) == {**_outcomes(first), "shut": "quarantined"}
    assert second.volume_ids == first.volume_ids
    third = ingest(archive, settings)
    assert _outcomes(third) == _outcomes(first)


def test_file_that_could_not_be_opened_is_tried_again(archive, settings, monkeypatch):
    write_png(archive / "a.png", np.zeros((4, 5), dtype=np.uint8))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sources.walk.kind_of", lambda *_: ("unreadable", "cannot be opened (OSError)"))
        assert _outcomes(ingest(archive, settings)) == {"a.png": "quarantined"}
    assert _outcomes(ingest(archive, settings)) == {"a.png": "ingested"}


def test_full_disk_is_no_fault_of_the_file(archive, settings, tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("blosc2 could not write")

    with monkeypatch.context() as patch:
        patch.setattr(arrays, "_finish", full)
        with pytest.raises(StoreError, match="make space"):
            arrays.write_array(tmp_path / "a.b2nd", np.zeros((1, 4, 4), dtype=np.uint8))
    write_nifti(archive / "a.nii.gz", oblique_voxels(), np.diag([1.0, 1.0, 2.0, 1.0]))
    reply = {"error": "StoreError", "message": "voxels cannot be written"}
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sources.decoding.decoders._Child.ask", lambda *_: reply)
        with pytest.raises(StoreError):
            ingest(archive, settings)
    assert _outcomes(ingest(archive, settings)) == {"a.nii.gz": "ingested"}


def test_copies_in_refused_parts_of_a_series_are_accounted_for(archive, settings):
    for number, folder in enumerate(("a", "b")):
        voxels = oblique_voxels(seed=number)
        write_oblique_series(archive / folder, voxels, leave_out=(2,), Modality="MR", EchoTime=str(5 + number))
    for number, path in enumerate(sorted((archive / "b").iterdir())):
        made = pydicom.dcmread(path)
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"1.2.9.{number}"
        made.save_as(path)
    shutil.copyfile(archive / "b" / "IM0001.dcm", archive / "b" / "copy.dcm")
    assert _outcomes(ingest(archive, settings))["b/copy.dcm"] == "quarantined"
