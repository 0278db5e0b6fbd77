"""What lies in the archive, and that it is written whole or not at all."""

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.sample.archive import write_sample
from pipeline.sample.ct_part import write_ct, write_faulty_ct
from pipeline.sample.field_part import write_fluorescence, write_he
from pipeline.sample.mr_part import write_mr


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_summary_counts_what_lies_on_disk(archive):
    root, summary = archive.root, archive.summary
    assert len(list((root / "ct").iterdir())) == summary.ct_series + 2 == 32
    assert len(list((root / "mr").iterdir())) == summary.mr_volumes + 1 == 7
    assert len(list((root / "cells" / "he").iterdir())) == summary.he_fields == 30
    assert len(list((root / "cells" / "fluorescence").iterdir())) == summary.fluorescence_fields == 10
    lesion_boxes = sum(len(scan["objects"]) for scan in archive.boxes if scan["frame"] != "px")
    lesions_in_maps = (archive.table("label_classes.csv")["label"] == "lesion").sum()
    assert lesion_boxes + lesions_in_maps == summary.lesions


def test_archive_stays_below_120_megabytes(archive):
    assert sum(path.stat().st_size for path in archive.root.rglob("*")) < 120e6


def test_scans_without_finding_are_listed_as_such(archive):
    empty_ct = [scan for scan in archive.boxes if scan["frame"] == "lps_mm" and not scan["objects"]]
    empty_he = [scan for scan in archive.boxes if scan["frame"] == "px" and not scan["objects"]]
    empty_maps = [
        path
        for path in (archive.root / "annotations" / "labels").glob("*.nii.gz")
        if not nib.load(path).get_fdata().any()
    ]
    assert (len(empty_ct), len(empty_he), len(empty_maps)) == (4, 2, 1)
    assert archive.summary.without_finding == 7


def test_every_image_is_annotated_in_exactly_one_form(archive):
    index = archive.table("index.csv")
    uid_to_file = {}
    for file in index["file"]:
        path = archive.root / file
        first = next(path.iterdir()) if path.is_dir() else path
        if first.suffix == ".dcm":
            uid_to_file[str(pydicom.dcmread(first, stop_before_pixels=True).SeriesInstanceUID)] = file
    stems = {file.rsplit("/", 1)[-1].split(".")[0]: file for file in index["file"]}
    boxed = [scan.get("file") or uid_to_file[scan["series_instance_uid"]] for scan in archive.boxes]
    points = [stems[name] for name in archive.table("centres.csv")["image_id"].unique()]
    mapped = [stems[path.name.split(".")[0]] for path in (archive.root / "annotations" / "labels").iterdir()]
    assert sorted(boxed + points + mapped) == sorted(index["file"])
    assert len(stems) == len(index)


def test_patients_stay_in_one_subset_and_every_kind_has_all_subsets(archive):
    index = archive.table("index.csv")
    assert (index.groupby("patient_id")["split"].nunique() == 1).all()
    kinds = index["file"].str.extract(r"^(ct|mr|cells/he|cells/fluorescence)/")[0]
    assert (index.groupby(kinds)["split"].nunique() == 3).all()


def test_index_and_dicom_headers_name_the_same_patients(archive):
    for row in archive.table("index.csv").itertuples():
        path = archive.root / row.file
        first = next(path.iterdir()) if path.is_dir() else path
        if first.suffix == ".dcm":
            assert pydicom.dcmread(first, stop_before_pixels=True).PatientID == row.patient_id


def test_label_maps_hold_the_values_that_have_a_class(archive):
    classes = archive.table("label_classes.csv").groupby("image_id")["value"].apply(set).to_dict()
    for path in (archive.root / "annotations" / "labels").iterdir():
        picture = path.suffix == ".png"
        values = np.unique(np.asarray(Image.open(path)) if picture else nib.load(path).dataobj)
        assert set(values.tolist()) - {0} == classes.get(path.name.split(".")[0], set()), path.name


def test_centre_points_lie_on_the_field_and_some_have_no_class(archive):
    centres = archive.table("centres.csv")
    assert centres[["x_px", "y_px"]].to_numpy().min() >= 0
    assert centres[["x_px", "y_px"]].to_numpy().max() <= 256
    assert set(centres["label"]) == {"tumour", "other", "unlabelled"}


@pytest.mark.parametrize(
    "write", [lambda root, seed: write_ct(root, seed, 2), lambda root, seed: write_mr(root, seed, 0),
              lambda root, seed: write_he(root, seed, 0), lambda root, seed: write_he(root, seed, 29),
              lambda root, seed: write_fluorescence(root, seed, 0), write_faulty_ct],
    ids=["ct", "mr", "he-png", "he-dicom", "fluorescence", "faulty"],
)  # fmt: skip
def test_same_seed_gives_same_bytes_and_another_seed_others(tmp_path, write):
    for name, seed in (("once", 7), ("again", 7), ("other", 8)):
        write(tmp_path / name, seed)
    once, again, other = (contents(tmp_path / name) for name in ("once", "again", "other"))
    assert once == again
    images = [name for name in once if name in other and "labels" not in name]
    assert all(once[name] != other[name] for name in images)


def test_archive_of_the_same_seed_is_left_as_it_is(archive):
    before = {path: path.stat().st_mtime_ns for path in archive.root.rglob("*")}
    again = write_sample(archive.root, seed=0)
    assert again.reused
    assert {path: path.stat().st_mtime_ns for path in archive.root.rglob("*")} == before
    assert again.to_json() == {**archive.summary.to_json(), "reused": True}


def test_archive_of_another_seed_is_refused(archive):
    with pytest.raises(ConfigError, match="sample of seed 0, not 3"):
        write_sample(archive.root, seed=3)


def test_folder_with_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="something other than a sample archive"):
        write_sample(tmp_path)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_interrupted_writing_leaves_nothing(tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(done, total, what):
        assert (total, what) == (76, "CT series")
        raise Interrupted

    with pytest.raises(Interrupted):
        write_sample(tmp_path / "sample", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
