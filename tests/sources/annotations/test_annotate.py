import csv
import json

import numpy as np
import pytest

from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.volumes import UNLABELLED
from pipeline.volumes.store import VolumeStore
from tests.phantoms import awkward_affine
from tests.sources.written import oblique_voxels, write_nifti, write_oblique_series, write_png

FIELD = np.zeros((20, 30), dtype=np.uint8)  # (row, column): 30 wide, 20 high


def _write_csv(path, columns, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_boxes(path, *scans):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": "cellscan-boxes-1", "scans": list(scans)}))


def _outcome(summary, path):
    return next((file.outcome, file.reason) for file in summary.files if file.path == path)


def _ingest(archive, settings):
    summary = ingest(archive, settings)
    return summary, Catalog.of(settings).volumes(archive)


def _field(archive, number=0, name="images/a.png"):
    return write_png(archive / name, FIELD + number)


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_box_on_an_oblique_flipped_anisotropic_series_comes_back_at_its_world_millimetres(archive, settings):
    write_oblique_series(archive / "ct", oblique_voxels())
    # The centre of voxel (5, 2, 4) in LPS: (10, -20, 30) + 2.5 * (.8, .6, 0) + 4 * (0, 0, -1) + 16 * (-.6, .8, 0).
    lesion = {"label": "lesion", "centre": [2.4, -5.7, 26.0], "size": [1.5, 4.0, 8.0], "axes": "array"}
    scan = {"series_instance_uid": "1.2.3.4", "frame": "lps_mm", "objects": [lesion]}
    _write_boxes(archive / "annotations" / "boxes.json", scan)
    _, (volume,) = _ingest(archive, settings)
    boxes = volume.annotations.boxes
    np.testing.assert_allclose(boxes.centres_world, [[-2.4, 5.7, 26.0]], atol=1e-9)  # RAS
    np.testing.assert_allclose(boxes.sizes_world, [[1.5, 4.0, 8.0]], atol=1e-9)
    # Sizes 1.5 / 0.5, 4 / 2 and 8 / 4 voxels around (5, 2, 4).
    np.testing.assert_allclose(boxes.lower, [[3.5, 1.0, 3.0]], atol=1e-9)
    np.testing.assert_allclose(boxes.upper, [[6.5, 3.0, 5.0]], atol=1e-9)
    assert volume.annotations.labels == ("lesion",)
    # The corner at lower i, j, k: index (3.5, 1, 3) is LPS (10, -20, 30) + 1.75 row + 2 column + 12 normal.
    corner = boxes.corners_world[0, 0]
    np.testing.assert_allclose(corner, [-(10 + 1.4 - 7.2), -(-20 + 1.05 + 9.6), 30 - 2], atol=1e-9)


def test_box_on_a_flipped_nifti_is_taken_in_ras(archive, settings):
    write_nifti(archive / "mr" / "m.nii.gz", oblique_voxels(), np.diag([-1.0, 2.0, -3.0, 1.0]))
    lesion = {"label": "lesion", "centre": [-4.0, 6.0, -9.0], "size": [2.0, 2.0, 3.0]}
    scan = {"file": "mr/m.nii.gz", "frame": "ras_mm", "objects": [lesion]}
    _write_boxes(archive / "annotations" / "boxes.json", scan)
    _, (volume,) = _ingest(archive, settings)
    np.testing.assert_allclose(volume.annotations.boxes.lower, [[3.0, 2.5, 2.5]], atol=1e-6)
    np.testing.assert_allclose(volume.annotations.boxes.upper, [[5.0, 3.5, 3.5]], atol=1e-6)


def test_pixel_boxes_count_from_pixel_centres_and_no_objects_is_no_finding(archive, settings):
    _field(archive, 0, "a.png")
    _field(archive, 1, "b.png")
    _field(archive, 2, "c.png")
    cell = {"label": "tumour", "centre": [4.0, 7.0], "size": [1.0, 3.0]}
    _write_boxes(
        archive / "annotations" / "boxes.json",
        {"file": "a.png", "frame": "px", "objects": [cell]},
        {"file": "b.png", "frame": "px", "objects": []},
    )
    _, (marked, empty, unseen) = _ingest(archive, settings)
    assert marked.annotations.boxes.lower.tolist() == [[3.5, 5.5]]
    assert marked.annotations.boxes.upper.tolist() == [[4.5, 8.5]]
    assert len(empty.annotations) == 0
    assert unseen.annotations is None


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        ({"file": "nowhere.png", "frame": "px", "objects": []}, "no image that it could belong to"),
        ({"file": "a.png", "frame": "lps_mm", "objects": []}, "the frame must be one of"),
        ({"file": "a.png", "frame": "px"}, "expected a list 'objects'"),
        (
            {"file": "a.png", "frame": "px", "objects": [{"centre": [31, 4], "size": [2, 2]}]},
            "outside the image of (30, 20)",
        ),
        ({"file": "a.png", "frame": "px", "objects": [{"centre": [3, 4], "size": [2, 0]}]}, "size must be above 0"),
        (
            {"file": "a.png", "frame": "px", "objects": [{"centre": [3], "size": [2, 2]}]},
            "2 finite numbers as 'centre'",
        ),
        ({"file": "a.png", "frame": "px", "objects": [{"centre": [3, 4]}]}, "2 finite numbers as 'size'"),
    ],
)
def test_entry_that_does_not_hold_is_told_and_the_others_are_used(archive, settings, scan, reason):
    _field(archive, 0, "a.png")
    _field(archive, 1, "b.png")
    good = {"file": "b.png", "frame": "px", "objects": []}
    _write_boxes(archive / "annotations" / "boxes.json", scan, good)
    summary, (first, second) = _ingest(archive, settings)
    outcome, told = _outcome(summary, "annotations/boxes.json")
    assert outcome == "quarantined"
    assert told.startswith("1 of 2 entries not used, the others were: ")
    assert reason in told
    assert first.annotations is None
    assert len(second.annotations) == 0


def test_entry_of_a_quarantined_scan_is_a_remark(archive, settings):
    write_oblique_series(archive / "ct", oblique_voxels(), leave_out=(2,))
    _field(archive, 0, "a.png")
    _write_boxes(
        archive / "annotations" / "boxes.json",
        {"series_instance_uid": "1.2.3.4", "frame": "lps_mm", "objects": []},
        {"file": "a.png", "frame": "px", "objects": []},
    )
    summary, _ = _ingest(archive, settings)
    assert _outcome(summary, "annotations/boxes.json") == (
        "ingested",
        "1 of 2 entries not used, the others were: entry 1: its image was quarantined",
    )


# --- centres ---------------------------------------------------------------------------------------------------------

CENTRES = ("image_id", "x_px", "y_px", "label")


def test_centres_count_from_the_edge_of_the_first_pixel(archive, settings):
    _field(archive)
    rows = [("a", 0.5, 0.5, "x"), ("a", 30.0, 20.0, "y_only"), ("a", 12.25, 7.5, "unlabelled")]
    _write_csv(archive / "centres.csv", CENTRES, rows)
    _, (volume,) = _ingest(archive, settings)
    annotations = volume.annotations
    assert annotations.boxes.centres.tolist() == [[0.0, 0.0], [29.5, 19.5], [11.75, 7.0]]
    assert annotations.boxes.sizes.tolist() == [[12.0, 12.0]] * 3
    assert annotations.labels == ("x", "y", UNLABELLED)
    assert annotations.ignore.tolist() == [False, True, False]
    assert annotations.from_points


def test_centre_outside_its_image_is_refused(archive, settings):
    _field(archive)
    _write_csv(archive / "centres.csv", CENTRES, [("a", 30.01, 5.0, "x")])
    summary, (volume,) = _ingest(archive, settings)
    outcome, reason = _outcome(summary, "centres.csv")
    assert outcome == "quarantined"
    assert reason.startswith("1 of 1 objects have their centre outside the image of (30, 20) voxels")
    assert volume.annotations is None


# --- label maps ------------------------------------------------------------------------------------------------------


def _labels():
    labels = np.zeros((20, 30), dtype=np.uint16)
    labels[2:5, 10:12], labels[8, 20] = 3, 700
    return labels


def test_label_map_beside_the_images_gives_one_box_a_value(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", _labels())
    _, (volume,) = _ingest(archive, settings)
    # Value 3: rows 2 … 4, columns 10 … 11; value 700: one pixel.
    assert volume.annotations.boxes.lower.tolist() == [[9.5, 1.5], [19.5, 7.5]]
    assert volume.annotations.boxes.upper.tolist() == [[11.5, 4.5], [20.5, 8.5]]
    assert volume.annotations.labels == ("object", "object")
    np.testing.assert_array_equal(VolumeStore(settings.volumes).label_map(volume.volume_id), _labels().T)


def test_classes_of_values_come_from_their_table(archive, settings):
    _field(archive)
    write_png(archive / "annotations" / "labels" / "a.png", _labels())
    rows = [("a", 700, "other"), ("a", 3, "tumour")]
    _write_csv(archive / "annotations" / "label_classes.csv", ("image_id", "value", "label"), rows)
    _, (volume,) = _ingest(archive, settings)
    assert volume.annotations.labels == ("tumour", "other")


def test_label_map_of_zeros_is_no_finding(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", np.zeros((20, 30), dtype=np.uint16))
    _, (volume,) = _ingest(archive, settings)
    assert len(volume.annotations) == 0


def test_label_map_of_another_shape_or_without_image_is_quarantined(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", np.zeros((20, 29), dtype=np.uint16))
    write_png(archive / "labels" / "b.png", np.zeros((20, 30), dtype=np.uint16))
    summary, (volume,) = _ingest(archive, settings)
    shape = "the label map has shape (29, 20), its image (30, 20)"
    assert _outcome(summary, "labels/a.png") == ("quarantined", shape)
    assert _outcome(summary, "labels/b.png") == ("quarantined", "there is no image that it could belong to")
    assert volume.annotations is None


def test_mask_that_lies_beside_its_image_is_quarantined(archive, settings):
    affine = awkward_affine()
    write_nifti(archive / "image" / "a.nii.gz", oblique_voxels(), affine)
    shifted = affine.copy()
    shifted[0, 3] += 5
    write_nifti(archive / "mask" / "a.nii.gz", np.zeros((12, 8, 6), dtype=np.uint8), shifted)
    summary, _ = _ingest(archive, settings)
    assert _outcome(summary, "mask/a.nii.gz") == ("quarantined", "the label map lies up to 5.00 mm beside its image")


def test_lesions_belong_to_the_only_image_beside_them(archive, settings):
    lesions = np.zeros((12, 8, 6), dtype=np.uint8)
    lesions[2:4, 2:5, 1:3] = 1
    lesions[9, 6, 4] = 1  # a single voxel does not count
    write_nifti(archive / "p" / "flair.nii.gz", oblique_voxels(), awkward_affine())
    write_nifti(archive / "p" / "lesions.nii.gz", lesions, awkward_affine())
    _, (volume,) = _ingest(archive, settings)
    assert volume.annotations.labels == ("lesion", "lesion")
    assert volume.annotations.ignore.tolist() == [False, True]
    assert volume.annotations.boxes.lower.tolist() == [[1.5, 1.5, 0.5], [8.5, 5.5, 3.5]]
    assert volume.annotations.boxes.upper.tolist() == [[3.5, 4.5, 2.5], [9.5, 6.5, 4.5]]


# --- indexes ---------------------------------------------------------------------------------------------------------


def test_index_gives_patient_subset_class_and_descriptive_columns_only(archive, settings):
    for number, name in enumerate("abc"):
        _field(archive, number, f"images/{name}.png")
        write_png(archive / "labels" / f"{name}.png", _labels())
    columns = ("file", "patient_id", "split", "stain", "class", "patient_name", "modality")
    rows = [
        ("a.png", "P7", "train", "he", "nucleus", "Doe", "SM"),
        ("b.png", "P7", "val", "he", "nucleus", "Doe", "SM"),
        ("c.png", "P8", "public_test", "", "", "Doe", ""),
        ("gone.png", "P9", "test", "he", "nucleus", "Doe", "SM"),
    ]
    _write_csv(archive / "index.csv", columns, rows)
    summary, (a, b, c) = _ingest(archive, settings)
    assert [v.subset for v in (a, b, c)] == ["train", "validation", "test"]
    assert a.patient_key == b.patient_key != c.patient_key
    assert a.attributes == {"format": "picture", "stain": "he"}
    assert (a.modality, a.name.split()[0], c.modality) == ("SM", "SM", "OT")
    assert [v.annotations.labels[0] for v in (a, b, c)] == ["nucleus", "nucleus", "object"]
    assert _outcome(summary, "index.csv")[0] == "ingested"


def test_unknown_split_is_refused_by_name(archive, settings):
    _field(archive)
    _write_csv(archive / "index.csv", ("image_id", "split"), [("a", "holdout")])
    summary, (volume,) = _ingest(archive, settings)
    outcome, reason = _outcome(summary, "index.csv")
    assert outcome == "quarantined"
    assert "split must be one of" in reason
    assert "holdout" not in reason  # reasons are shown to others, and may not hold what a file says of a person
    assert volume.subset is None


def test_same_stem_in_two_folders_is_not_guessed(archive, settings):
    _field(archive, 0, "x/a.png")
    _field(archive, 1, "y/a.png")
    _write_csv(archive / "centres.csv", CENTRES, [("a", 5, 5, "x")])
    summary, volumes = _ingest(archive, settings)
    assert "2 volumes fit" in _outcome(summary, "centres.csv")[1]
    assert all(volume.annotations is None for volume in volumes)


def test_image_annotated_twice_keeps_one_and_tells(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", _labels())
    _write_csv(archive / "centres.csv", CENTRES, [("a", 5, 5, "x")])
    summary, (volume,) = _ingest(archive, settings)
    assert "annotated by another file already" in _outcome(summary, "centres.csv")[1]
    assert not volume.annotations.from_points


def test_other_tables_are_ignored(archive, settings):
    _write_csv(archive / "prices.csv", ("item", "price"), [("a", 1)])
    (archive / "x.json").write_text("{}")
    summary, _ = _ingest(archive, settings)
    assert {file.outcome for file in summary.files} == {"ignored"}


# --- again -----------------------------------------------------------------------------------------------------------


def test_changed_annotation_is_applied_without_reading_the_image_again(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", _labels())
    first, _ = _ingest(archive, settings)
    changed = _labels()
    changed[0, 0] = 9
    write_png(archive / "labels" / "a.png", changed)
    second, (volume,) = _ingest(archive, settings)
    assert len(volume.annotations) == 3
    assert second.unchanged == 1
    assert second.volume_ids == first.volume_ids


def test_removed_annotation_is_withdrawn(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", _labels())
    _ingest(archive, settings)
    (archive / "labels" / "a.png").unlink()
    _, (volume,) = _ingest(archive, settings)
    assert volume.annotations is None


def test_ingest_of_a_folder_inside_keeps_what_the_archive_says(archive, settings):
    _field(archive)
    write_png(archive / "labels" / "a.png", _labels())
    _ingest(archive, settings)
    _field(archive, 1, "images/new.png")
    _, volumes = _ingest(archive / "images", settings)
    assert [volume.annotations is None for volume in volumes] == [False, True]


def test_annotation_waits_for_its_image(archive, settings):
    write_png(archive / "labels" / "a.png", _labels())
    assert _outcome(ingest(archive, settings), "labels/a.png")[0] == "quarantined"
    _field(archive)
    summary, (volume,) = _ingest(archive, settings)
    assert _outcome(summary, "labels/a.png") == ("ingested", "")
    assert len(volume.annotations) == 2


def test_run_killed_between_images_and_annotations_is_completed(archive, settings, monkeypatch):
    _field(archive)
    write_png(archive / "labels" / "a.png", _labels())
    _ingest(archive, settings)
    write_png(archive / "images" / "a.png", FIELD + 5)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.sources.ingest.annotate", lambda **_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ingest(archive, settings)
    _, (volume,) = _ingest(archive, settings)
    assert len(volume.annotations) == 2
    assert np.asarray(volume.array).max() == 5
