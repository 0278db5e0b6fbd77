import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.sources.read import read_scans
from tests.sources.written import oblique_voxels, write_nifti, write_oblique_series, write_png


def test_folder_gives_each_scan_once_and_no_label_map(archive, decoders):
    voxels = oblique_voxels()
    write_oblique_series(archive / "ct", voxels)
    write_nifti(archive / "image" / "a.nii.gz", voxels, np.eye(4))
    write_nifti(archive / "mask" / "a.nii.gz", voxels * 0, np.eye(4))
    (archive / "notes.txt").write_text("nothing")
    series, volume = read_scans(archive, decoders)
    np.testing.assert_array_equal(series.image[0], voxels)
    assert (series.modality, series.grid.shape) == ("CT", (12, 8, 6))
    np.testing.assert_array_equal(volume.image[0], voxels)
    assert series.name == f"CT {series.volume_id[:8]} 12x8x6"
    assert series.patient_id is None


def test_scan_has_the_same_id_as_in_the_catalog(archive, settings, decoders):
    write_oblique_series(archive, oblique_voxels())
    ingest(archive, settings)
    (scan,) = read_scans(archive, decoders)
    assert [volume.volume_id for volume in Catalog.of(settings).volumes(archive)] == [scan.volume_id]


def test_file_that_is_named_is_read_whatever_its_folder(archive):
    path = write_png(archive / "labels" / "a.png", np.zeros((5, 7), dtype=np.uint8))
    (scan,) = read_scans(path)
    assert scan.image.shape == (1, 7, 5)


def test_broken_scan_and_empty_folder_are_errors(archive, decoders):
    with pytest.raises(SourceError, match="found none"):
        read_scans(archive, decoders)
    write_oblique_series(archive, oblique_voxels(), leave_out=(3,))
    with pytest.raises(SourceError, match=r"1 slice\(s\) missing"):
        read_scans(archive, decoders)
    (archive / "x.dcm").write_bytes(b"x")
    with pytest.raises(SourceError, match="not DICOM"):
        read_scans(archive, decoders)
