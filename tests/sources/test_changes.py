"""What a later ingest says must be what a fresh one would say, also after a run that was killed or could not read."""

import os
import shutil

import nibabel as nib
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


def _labelled(folder, values, boxed):
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    for number, place in enumerate(boxed, start=1):
        labels[place] = number
    write_nifti(folder / "images" / "a.nii.gz", values, np.eye(4))
    write_nifti(folder / "labels" / "a.nii.gz", labels, np.eye(4))


def test_one_scan_in_two_archives_keeps_its_first_annotation_until_that_goes(tmp_path, settings):
    values = oblique_voxels()[:6, :5, :4]
    _labelled(tmp_path / "a", values, [(1, 1, 1)])
    _labelled(tmp_path / "b", values, [(2, 2, 2), (4, 4, 3)])
    ingest(tmp_path / "a", settings)
    second = {file.path: file for file in ingest(tmp_path / "b", settings).files}
    assert second["labels/a.nii.gz"].outcome == "quarantined"
    assert "another archive's file" in second["labels/a.nii.gz"].reason
    (volume,) = Catalog.of(settings).volumes(tmp_path / "b")
    assert len(volume.annotations) == 1
    shutil.rmtree(tmp_path / "a")
    third = {file.path: file for file in ingest(tmp_path / "b", settings).files}
    assert third["labels/a.nii.gz"].outcome == "ingested"
    (volume,) = Catalog.of(settings).volumes(tmp_path / "b")
    assert len(volume.annotations) == 2


def test_label_maps_may_be_pairs_of_header_and_data(tmp_path, settings):
    labels = np.zeros((6, 5, 4), dtype=np.int16)
    labels[1:3, 2:4, 1] = 7
    write_nifti(tmp_path / "in" / "images" / "a.nii.gz", oblique_voxels()[:6, :5, :4], np.eye(4))
    (tmp_path / "in" / "labels").mkdir()
    nib.save(nib.Nifti1Pair(labels, np.eye(4)), tmp_path / "in" / "labels" / "a.img")
    summary = ingest(tmp_path / "in", settings)
    assert {file.path: file.outcome for file in summary.files} == {
        "images/a.nii.gz": "ingested",
        "labels/a.hdr": "ingested",
        "labels/a.img": "ingested",
    }
    (volume,) = Catalog.of(settings).volumes(tmp_path / "in")
    assert volume.annotations.boxes.sizes.tolist() == [[2, 2, 1]]


def test_a_mask_named_after_its_image_without_a_joint_is_its_label_map(tmp_path, settings):
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    labels[1, 1, 1] = 1
    write_nifti(tmp_path / "in" / "img3d.nii.gz", oblique_voxels()[:6, :5, :4], np.eye(4))
    write_nifti(tmp_path / "in" / "mask3d.nii.gz", labels, np.eye(4))
    ingest(tmp_path / "in", settings)
    (volume,) = Catalog.of(settings).volumes(tmp_path / "in")
    assert len(volume.annotations) == 1
