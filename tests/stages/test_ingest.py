import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.stages.ingest import ingest_archive, is_address
from tests.sources.written import oblique_voxels, write_nifti, write_oblique_series, write_png


@pytest.fixture
def settings(tmp_path):
    home = tmp_path / "home"
    return Settings(home, tmp_path, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)


def test_addresses_are_told_from_folders():
    assert is_address("https://pacs/dicom-web")
    assert not is_address("scans/https")


def test_conditions_need_a_server(tmp_path, settings):
    with pytest.raises(SourceError, match="--where"):
        ingest_archive(tmp_path, settings, where={"Modality": "CT"})


def test_a_copy_without_patients_is_ingested_and_what_is_not_in_it_is_told(tmp_path, settings):
    source = tmp_path / "in"
    write_oblique_series(source / "Doe", oblique_voxels(), PatientID="DOE-77", PatientName="Doe^Jane")
    write_png(source / "field.png", np.zeros((4, 5), np.uint8))
    write_nifti(source / "labels" / "a.nii.gz", np.ones((3, 3, 3), np.uint8), np.eye(4))
    summary = ingest_archive(source, settings, deidentify=DeidentifyOptions())
    assert summary.counts()["ingested"] == len(summary.files) == 6
    assert sum(summary.withheld.values()) == 2
    (volume,) = Catalog.of(settings).volumes(summary.root)
    np.testing.assert_array_equal(volume.array[0], oblique_voxels())
    written = [path for path in settings.home.rglob("*") if path.is_file()]
    assert written
    ledger = settings.home / "deidentified"  # knows which source file became what, as the catalog knows paths
    assert not any(b"Doe^Jane" in path.read_bytes() or b"DOE-77" in path.read_bytes() for path in written)
    assert not any("Doe" in path.as_posix().removeprefix(ledger.as_posix()) for path in written)


def test_a_patient_who_is_withdrawn_leaves_the_copy(tmp_path, settings):
    source = tmp_path / "in"
    write_oblique_series(source / "a", oblique_voxels(), SeriesInstanceUID="1.2.1", PatientID="a")
    write_oblique_series(source / "b", oblique_voxels(seed=1), SeriesInstanceUID="1.2.2", PatientID="b")
    assert len(ingest_archive(source, settings, deidentify=DeidentifyOptions()).volume_ids) == 2
    for path in (source / "b").iterdir():
        path.unlink()
    summary = ingest_archive(source, settings, deidentify=DeidentifyOptions())
    assert len(summary.volume_ids) == 1
    assert len(list(summary.root.rglob("*.dcm"))) == 6
