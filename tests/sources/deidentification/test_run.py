"""A tree: every file is accounted for, nothing is done twice, and the report says nothing of anybody."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.settings import Settings
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.run import deidentify
from pipeline.sources.dicom.series import load_series
from tests.sources.written import (
    SECONDARY_CAPTURE,
    dataset,
    oblique_slice,
    oblique_voxels,
    write,
    write_nifti,
    write_oblique_series,
    write_png,
)

BASIC = DeidentifyOptions()
NAMES = ("Doe", "Jane", "P4711", "1.2.3.4", "Jane_Doe")


def write_archive(root):
    """A series, the same again, a screenshot, a cut file, a NIfTI file and a picture, in a folder with the name."""
    folder = root / "Jane_Doe"
    write_oblique_series(folder / "ct", oblique_voxels(), PatientID="P4711")
    copy = folder / "again" / "Jane.dcm"
    copy.parent.mkdir()
    copy.write_bytes((folder / "ct" / "IM0001.dcm").read_bytes())
    write(dataset(np.zeros((4, 4), np.uint8), sop_class=SECONDARY_CAPTURE, PatientID="P4711"), folder / "screen.dcm")
    (folder / "cut.dcm").write_bytes((folder / "ct" / "IM0002.dcm").read_bytes()[:-100])
    write_nifti(folder / "Jane_Doe.nii.gz", oblique_voxels(), np.eye(4))
    write_png(folder / "Jane.png", np.zeros((4, 4), np.uint8))
    return root


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "archive")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An archive, its output and the summary, for tests that look only."""
    folder = tmp_path_factory.mktemp("finished")
    home = folder / "home"
    settings = Settings(home, folder, "cpu", f"sqlite:///{home / 'catalog.db'}", "", None)
    archive = write_archive(folder / "archive")
    return archive, folder / "out", deidentify(archive, folder / "out", BASIC, settings)


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_every_file_has_its_end_and_the_tree_names_nobody(finished):
    _, out, summary = finished
    counts = summary.counts()
    assert counts == {
        "files": 11, "written": 7, "copy": 1, "refused": 1, "quarantined": 1, "ignored": 1,
        "studies": 2, "patients": 1, "unchanged": 0,
    }  # fmt: skip
    assert all(file.reason for file in summary.files if file.outcome != "written")
    made = files_below(out)
    assert len([path for path in made if path.suffix == ".dcm"]) == 6
    assert not [path for path in made for name in NAMES if name in str(path.relative_to(out))]
    assert not [path for path in made for name in NAMES if name.encode() in path.read_bytes()]


def test_voxels_and_geometry_are_those_of_the_source(finished):
    archive, out, _ = finished
    (before,) = load_series(sorted((archive / "Jane_Doe" / "ct").glob("*.dcm")))
    (after,) = load_series(sorted(out.rglob("*.dcm")))
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.grid.affine, before.grid.affine)
    assert after.patient_id not in ("", before.patient_id)


def test_what_is_done_is_not_done_again_and_what_is_missing_or_changed_is(archive, tmp_path, settings):
    out = tmp_path / "out"
    deidentify(archive, out, BASIC, settings)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.dcm")}
    assert deidentify(archive, out, BASIC, settings).unchanged == 11
    lost, *kept = sorted(times)
    lost.unlink()
    changed = archive / "Jane_Doe" / "cut.dcm"
    changed.write_bytes(b"no scan")
    summary = deidentify(archive, out, BASIC, settings)
    assert lost.is_file()
    assert {path: path.stat().st_mtime_ns for path in kept} == {path: times[path] for path in kept}
    assert summary.unchanged in (8, 9)  # the lost file may be the one that two sources hold
    assert summary.counts()["written"] == 7


def test_a_changed_source_replaces_its_output(tmp_path, settings):
    source, out = tmp_path / "in" / "a.dcm", tmp_path / "out"
    uid = "1.2.3.4.5"
    write(oblique_slice(0, np.zeros((4, 4), np.int16), SOPInstanceUID=uid), source)
    (first,) = deidentify(source, out, BASIC, settings).files
    before = (out / first.output).read_bytes()
    write(oblique_slice(0, np.ones((4, 4), np.int16), SOPInstanceUID=uid), source)
    os.utime(source, ns=(1, 1))
    (second,) = deidentify(source, out, BASIC, settings).files
    assert (second.outcome, second.output) == ("written", first.output)
    assert (out / second.output).read_bytes() != before


def test_members_of_an_archive_file_are_done_like_files_and_not_unpacked_again(archive, tmp_path, settings):
    (tmp_path / "in").mkdir()
    shutil.make_archive(str(tmp_path / "in" / "Doe"), "zip", archive)
    first = deidentify(tmp_path / "in", tmp_path / "out", BASIC, settings)
    assert (first.counts()["files"], first.counts()["written"], first.unchanged) == (12, 7, 0)
    again = deidentify(tmp_path / "in", tmp_path / "out", BASIC, settings)
    assert again.unchanged == 12
    assert again.files == first.files
    next((tmp_path / "out").rglob("*.dcm")).unlink()
    third = deidentify(tmp_path / "in", tmp_path / "out", BASIC, settings)
    assert third.counts()["written"] == 7
    assert third.unchanged > 8


def test_report_does_not_tell_the_name_of_a_member_that_is_refused(tmp_path, settings):
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(tmp_path / "in" / "a.zip", "w") as file:
        file.writestr("/home/Jane_Doe.dcm", b"no scan")
    (result,) = deidentify(tmp_path / "in", tmp_path / "out", BASIC, settings).files
    assert result.outcome == "quarantined"
    assert "Jane_Doe" not in result.reason
    told = "".join(path.read_text() for path in files_below(tmp_path / "out"))
    assert "cannot be opened" in told
    assert "Jane" not in told


def test_a_run_that_was_killed_is_continued(archive, tmp_path, settings):
    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deidentify(archive, tmp_path / "out", BASIC, settings, stop)
    assert deidentify(archive, tmp_path / "out", BASIC, settings).counts()["written"] == 7
    whole = {path.name: path.read_bytes() for path in files_below(tmp_path / "out")}
    deidentify(archive, tmp_path / "other", BASIC, settings)
    assert whole == {path.name: path.read_bytes() for path in files_below(tmp_path / "other")}


def test_a_second_file_of_an_instance_with_other_content_is_quarantined(tmp_path, settings):
    for number in range(2):
        made = oblique_slice(0, np.full((4, 4), number, np.int16), SOPInstanceUID="1.2.3.4.5")
        write(made, tmp_path / "in" / f"{number}.dcm")
    first, second = deidentify(tmp_path / "in", tmp_path / "out", BASIC, settings).files
    assert (first.outcome, second.outcome) == ("written", "quarantined")
    assert "same instance" in second.reason


def test_report_of_a_study_counts_what_was_done_and_holds_no_value(finished):
    _, out, summary = finished
    study = next(file.study for file in summary.files if file.path.endswith("IM0001.dcm"))
    report = json.loads((out / "report" / f"{study}.json").read_text())
    rows = {(row["keyword"], row["done"]): row["count"] for row in report["attributes"]}
    assert rows["PatientID", "replaced"] == rows["SOPInstanceUID", "UID replaced"] == 6
    assert report["files"] == 6
    assert report["codes"] == ["DCM 113100"]
    assert report["options"]["table"] == "DICOM PS3.15 2026c Table E.1-1"
    (reason,) = report["not_copied"]
    assert "secondary capture" in reason
    told = "".join(path.read_text() for path in (out / "report").iterdir())
    assert not [name for name in NAMES if name in told]
    assert "BurnedInAnnotation is missing" in told


def test_another_option_or_key_does_not_mix_into_an_output_folder(archive, tmp_path, settings):
    deidentify(archive, tmp_path / "out", BASIC, settings)
    with pytest.raises(SourceError, match="other options or another key"):
        deidentify(archive, tmp_path / "out", DeidentifyOptions(retain_device=True), settings)
    (settings.home / "patient.key").write_bytes(b"x" * 32)
    with pytest.raises(SourceError, match="other options or another key"):
        deidentify(archive, tmp_path / "out", BASIC, settings)


def test_source_and_output_lie_apart(archive, settings):
    for out in (archive, archive / "out", archive.parent):
        with pytest.raises(SourceError, match="must lie apart"):
            deidentify(archive, out, BASIC, settings)
