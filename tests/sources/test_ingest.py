import dataclasses
import json

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.volumes.store import VolumeStore
from tests.sources.written import (
    dataset,
    oblique_slice,
    oblique_voxels,
    write,
    write_nifti,
    write_oblique_series,
    write_png,
)


def _outcomes(summary):
    return {file.path: (file.outcome, file.reason) for file in summary.files}


def _volumes(settings, root):
    return Catalog.of(settings).volumes(root)


def _mixed(archive):
    write_oblique_series(archive / "ct", oblique_voxels())
    write_oblique_series(archive / "gap", oblique_voxels(seed=1), leave_out=(2,), SeriesInstanceUID="1.2.3.5")
    write_png(archive / "field.png", np.zeros((5, 7), dtype=np.uint8))
    write_nifti(archive / "mr.nii.gz", oblique_voxels(seed=2), np.diag([1.0, 1.0, 2.0, 1.0]))
    (archive / "notes.txt").write_text("to be read by people")
    (archive / "broken.dcm").write_bytes(b"x" * 300)
    write(dataset(np.zeros((2, 2), np.uint8), "1.2.840.10008.5.1.4.1.1.88.33", Modality="SR"), archive / "report.dcm")


def test_every_file_is_accounted_for(archive, settings):
    _mixed(archive)
    seen = []
    summary = ingest(archive, settings, lambda done, total, what: seen.append((done, total, what)))
    outcomes = _outcomes(summary)
    on_disk = sorted(p.relative_to(archive).as_posix() for p in archive.rglob("*") if p.is_file())
    assert sorted(outcomes) == on_disk
    assert {path for path, (outcome, _) in outcomes.items() if outcome == "ingested"} == {
        *(f"ct/IM000{n}.dcm" for n in range(1, 7)),
        "field.png",
        "mr.nii.gz",
    }
    assert all("1 slice(s) missing" in outcomes[path][1] for path in outcomes if path.startswith("gap/"))
    assert outcomes["broken.dcm"] == ("quarantined", "no SOPClassUID is found: not DICOM, cut or damaged")
    assert outcomes["report.dcm"][0] == "ignored"
    assert outcomes["notes.txt"][0] == "ignored"
    counts = {"files": 16, "ingested": 8, "ignored": 2, "quarantined": 6, "volumes": 3, "unchanged": 0}
    assert summary.counts() == counts
    assert (4, 4, "scans") in seen


def test_catalog_tells_the_same_as_the_summary(archive, settings):
    _mixed(archive)
    summary = ingest(archive, settings)
    catalog = Catalog.of(settings)
    assert tuple(catalog.files(archive)) == summary.files
    assert tuple(volume.volume_id for volume in catalog.volumes(archive)) == summary.volume_ids
    assert catalog.summary() == {"volumes": 3, "files": 16, "ingested": 8, "ignored": 2, "quarantined": 6}
    assert [volume.modality for volume in Catalog(settings.catalog_url).volumes(archive / "ct")] == ["CT"]
    json.dumps(summary.to_json())


def test_second_ingest_reads_nothing_again(archive, settings, monkeypatch):
    _mixed(archive)
    first = ingest(archive, settings)
    monkeypatch.setattr(
        "pipeline.sources.decoding.decoders._Child.ask", lambda *_: pytest.fail("a file was read again")
    )
    second = ingest(archive, settings)
    assert second.files == first.files
    assert second.volume_ids == first.volume_ids
    assert second.unchanged == len(first.files)


def test_changed_file_is_read_again_and_a_removed_one_forgotten(archive, settings):
    first = write_png(archive / "a.png", np.zeros((5, 7), dtype=np.uint8))
    second = write_png(archive / "b.png", np.ones((5, 7), dtype=np.uint8))
    before = ingest(archive, settings)
    write_png(first, np.full((5, 9), 3, dtype=np.uint8))
    second.unlink()
    after = ingest(archive, settings)
    assert [file.path for file in after.files] == ["a.png"]
    assert after.volume_ids[0] not in before.volume_ids
    (volume,) = _volumes(settings, archive)
    assert volume.grid.shape == (9, 5)


def test_series_is_read_again_as_a_whole_when_a_slice_comes_late(archive, settings):
    voxels = oblique_voxels()
    write_oblique_series(archive, voxels, leave_out=(3,))
    assert ingest(archive, settings).counts()["quarantined"] == 5
    late = oblique_slice(3, np.ascontiguousarray(voxels[:, :, 3].T))
    write(late, archive / "late" / "slice.dcm")
    summary = ingest(archive, settings)
    assert summary.counts()["ingested"] == 6
    assert summary.unchanged == 0
    (volume,) = _volumes(settings, archive)
    np.testing.assert_array_equal(volume.array[0], voxels)


def test_volume_lost_from_the_store_is_made_again(archive, settings):
    write_oblique_series(archive, oblique_voxels())
    (lost,) = ingest(archive, settings).volume_ids
    (VolumeStore(settings.volumes).folder(lost) / "image.b2nd").unlink()
    assert ingest(archive, settings).volume_ids == (lost,)
    assert VolumeStore(settings.volumes).has(lost)


def test_broken_slice_keeps_its_series_out_and_is_told_apart(archive, settings):
    write_oblique_series(archive, oblique_voxels())
    path = archive / "IM0006.dcm"
    path.write_bytes(path.read_bytes()[:-10])
    outcomes = _outcomes(ingest(archive, settings))
    assert outcomes["IM0006.dcm"][1] == "the file is cut: its last element declares 192 bytes, 182 are there"
    assert outcomes["IM0001.dcm"] == ("quarantined", "its series is not whole: 1 of 6 files cannot be read")


def test_copies_of_a_series_in_two_folders_are_one_volume(archive, settings):
    uids = [f"1.2.9.{k}" for k in range(6)]
    voxels = oblique_voxels()
    for folder in ("first", "second"):
        for k in range(6):
            slice_ = oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T), SOPInstanceUID=uids[k])
            write(slice_, archive / folder / f"{k}.dcm")
    summary = ingest(archive, settings)
    assert summary.counts()["ingested"] == 12
    assert len(summary.volume_ids) == 1


def test_series_spread_over_folders_is_one_volume(archive, settings):
    voxels = oblique_voxels()
    for k in range(6):
        write(oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T)), archive / str(k) / "IM.dcm")
    ingest(archive, settings)
    (volume,) = _volumes(settings, archive)
    np.testing.assert_array_equal(volume.array[0], voxels)


def test_patients_are_keyed_and_never_named(archive, settings):
    write_oblique_series(archive / "a", oblique_voxels(seed=1), SeriesInstanceUID="1.1", PatientID="SECRET-77")
    write_oblique_series(archive / "b", oblique_voxels(seed=2), SeriesInstanceUID="1.2", PatientID="SECRET-77 ")
    write_oblique_series(archive / "c", oblique_voxels(seed=3), SeriesInstanceUID="1.3", PatientID="SECRET-78")
    write_oblique_series(
        archive / "d", oblique_voxels(seed=4), SeriesInstanceUID="1.4", PatientID="SECRET-77", RescaleSlope=0
    )
    summary = ingest(archive, settings)
    first, same, other = (volume.patient_key for volume in _volumes(settings, archive))
    assert first == same != other
    assert len(first) == 16
    written = [path.read_bytes() for path in settings.home.rglob("*") if path.is_file()]
    told = [json.dumps(summary.to_json()).encode(), *(volume.name.encode() for volume in _volumes(settings, archive))]
    assert not any(secret in text for text in [*written, *told] for secret in (b"SECRET-7", b"Doe", b"Jane"))
    assert (settings.home / "patient.key").stat().st_mode & 0o777 == 0o600


def test_links_to_folders_are_not_followed(archive, settings, tmp_path):
    write_png(tmp_path / "elsewhere" / "a.png", np.zeros((5, 7), dtype=np.uint8))
    (archive / "link").symlink_to(tmp_path / "elsewhere")
    (archive / "dangling.png").symlink_to(archive / "nowhere")
    outcomes = _outcomes(ingest(archive, settings))
    assert outcomes["link"] == ("ignored", "not a regular file; links are not followed")
    assert outcomes["dangling.png"][0] == "ignored"


def test_own_home_inside_the_archive_is_no_part_of_it(archive, settings):
    write_png(archive / "a.png", np.zeros((5, 7), dtype=np.uint8))
    inside = dataclasses.replace(settings, home=archive / ".cellscan")
    assert [file.path for file in ingest(archive, inside).files] == ["a.png"]
    assert [file.path for file in ingest(archive, inside).files] == ["a.png"]


def test_one_file_may_be_asked_for_and_nothing_there_is_an_error(archive, settings):
    path = write_png(archive / "a.png", np.zeros((5, 7), dtype=np.uint8))
    assert [file.path for file in ingest(path, settings).files] == ["a.png"]
    with pytest.raises(SourceError, match="found nothing at"):
        ingest(archive / "absent", settings)


def test_empty_folder_is_an_empty_archive(archive, settings):
    summary = ingest(archive, settings)
    assert summary.files == ()
    assert summary.counts()["volumes"] == 0
