"""One series or file of several volumes: which of them an annotation means."""

import json

import numpy as np
import pytest

from pipeline.geometry import Grid
from pipeline.sources.annotations.annotate import annotate
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference
from pipeline.sources.catalog import FileRecord
from pipeline.sources.patients import PatientKeys
from pipeline.sources.walk import walk
from pipeline.volumes.store import VolumeStore
from tests.sources.annotations.conftest import DecodersHere

SEG = "1.2.840.10008.5.1.4.1.1.66.4"


class Archive:
    """Volumes in a store with hand-made rows, and one DICOM object whose reader says what a test wants."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.monkeypatch = folder, monkeypatch
        self.store = VolumeStore(folder / "store")
        self.rows, self.before = {}, {}

    def image(self, path, *grids, **more):
        ids = []
        for number, grid in enumerate(grids):
            voxels = np.full((1, *grid.shape), 10 * len(self.rows) + number, np.uint8)
            attributes = more.pop("attributes", {})
            ids.append(self.store.put(image=voxels, grid=grid, modality="CT", attributes=attributes).volume_id)
        row = FileRecord(str(self.folder / path), 1, 1, "", "image", "ingested", volume_ids=tuple(ids), **more)
        self.rows[row.path] = row
        return ids

    def annotate(self, *sets, name="seg.dcm"):
        self.monkeypatch.setattr("pipeline.sources.annotations.read.reader", lambda _: lambda path: list(sets))
        path = self.folder / name
        path.write_bytes(b"x" * 200)
        files = {str(one.path): one for one in walk(path)}
        outcome = annotate(
            files, {}, dict(self.rows), self.before, self.store, PatientKeys(self.folder), DecodersHere(),
            lambda *_: None, {str(path): SEG}, "reader-1",
        )  # fmt: skip
        (row,) = outcome.files
        return row, outcome


@pytest.fixture
def archive(tmp_path, monkeypatch):
    return Archive(tmp_path, monkeypatch)


def _grid(shape=(8, 8, 4), start=0.0, spacing=(1.0, 1.0, 2.0)):
    affine = np.diag([*spacing, 1.0])
    affine[2, 3] = start
    return Grid(shape, affine)


def _points(*points, **reference):
    return MarkSet(Reference(**reference or {"series": "S"}), "ras_mm", tuple(Mark("x", [p], "point") for p in points))


def test_volume_that_holds_the_referenced_instances_is_meant(archive):
    archive.image("1.dcm", _grid(), series="S", instance="i1")
    (second,) = archive.image("2.dcm", _grid(), series="S", instance="i2")
    row, outcome = archive.annotate(_points((3, 3, 4), instances=("i2",)))
    assert (row.outcome, row.reason, row.volume_ids, row.reader) == ("ingested", "", (second,), "reader-1")
    (record,) = outcome.annotations
    assert (record.volume_id, record.format, record.objects, record.labels) == (second, "dicom-seg", 1, {"x": 1})
    assert record.from_points


def test_the_one_volume_that_holds_every_centre_is_meant(archive):
    archive.image("1.dcm", _grid(), series="S")
    (second,) = archive.image("2.dcm", _grid(start=8.0), series="S")
    row, _ = archive.annotate(_points((3, 3, 10), (3, 3, 7)))  # from 7 mm on both touch; 10 mm is in the second alone
    assert row.volume_ids == (second,)
    assert row.reason == "of the 2 volumes of its image, the one that it fits"


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        (_points((3, 3, 4)), "2 volumes of its image fit, so it is not clear which is meant"),
        (_points(), "2 volumes of its image fit"),
        (_points((3, 3, 99)), "it fits none of the 2 volumes of its image: 1 of 1 objects have their centre outside"),
    ],
)
def test_phases_in_one_place_are_not_chosen_from(archive, marks, reason):
    first, second = archive.image("1.dcm", _grid(), _grid(), series="S")
    row, outcome = archive.annotate(marks)
    assert row.outcome == "quarantined"
    assert reason in row.reason
    assert (row.volume_ids, outcome.annotations) == ((), ())
    assert [archive.store.get(one).annotations for one in (first, second)] == [None, None]


def test_label_map_means_the_volume_whose_voxels_it_has(archive):
    archive.image("1.dcm", _grid(), series="S")
    (second,) = archive.image("2.dcm", _grid(spacing=(0.5, 0.5, 2.0)), series="S")
    labels = np.zeros((8, 8, 2), np.uint8)
    labels[3, 4, 1] = 1
    crop = _grid(spacing=(0.5, 0.5, 2.0)).crop((0, 0, 2), (8, 8, 4))
    row, _ = archive.annotate(LabelMapSet(Reference(series="S"), labels, crop, {1: "rim"}))
    assert row.volume_ids == (second,)
    stored = archive.store.label_map(second)
    assert stored.shape == (8, 8, 4)
    assert np.argwhere(stored).tolist() == [[3, 4, 3]]
    assert archive.store.get(second).annotations.boxes.lower.tolist() == [[2.5, 3.5, 2.5]]


def test_pixels_and_slide_coordinates_mean_the_largest_level(archive):
    place = {"slide_origin_mm": "0 0", "slide_orientation": "1 0 0 0 1 0"}
    large = Grid((400, 200), np.diag([0.001, 0.001, 1.0]))
    small = Grid((100, 50), np.diag([0.004, 0.004, 1.0]))
    (first,) = archive.image("1.dcm", large, series="S", attributes=place)
    archive.image("2.dcm", small, series="S", attributes=place)
    for frame, point in (("edge_px", (40.5, 20.5)), ("slide_mm", (0.04, 0.02))):
        marks = MarkSet(Reference(series="S"), frame, (Mark("x", [point], "point"),))
        row, _ = archive.annotate(marks, name=f"{frame}.dcm")
        assert row.volume_ids == (first,), row.reason
        np.testing.assert_allclose(archive.store.get(first).annotations.boxes.centres, [[40, 20]])


def test_stated_size_names_the_level(archive):
    _, small = archive.image("a.tif", Grid.of_pixels((400, 200)), Grid.of_pixels((100, 50)))
    marks = MarkSet(Reference(file="a.tif"), "edge_px", (Mark("x", [[1, 1], [2, 2]], "box"),), shape=(100, 50))
    row, _ = archive.annotate(marks)
    assert row.volume_ids == (small,)


def test_overlapping_layers_of_one_image_are_joined_and_keep_every_box(archive):
    (volume,) = archive.image("1.dcm", _grid(), series="S")
    layers = np.zeros((2, 8, 8, 4), np.uint8)
    layers[0, 1:4, 1:4, 1] = 1
    layers[1, 2:6, 2, 1] = 1
    sets = [
        LabelMapSet(Reference(series="S"), layer, _grid(), {1: name}) for layer, name in zip(layers, "ab", strict=True)
    ]
    row, _ = archive.annotate(*sets)
    annotations = archive.store.get(volume).annotations
    assert annotations.labels == ("a", "b")
    assert annotations.boxes.upper.tolist() == [[3.5, 3.5, 1.5], [5.5, 2.5, 1.5]]
    assert archive.store.label_map(volume) is None
    assert "no mask is kept" in row.reason


def test_layers_that_do_not_overlap_are_one_label_map(archive):
    (volume,) = archive.image("1.dcm", _grid(), series="S")
    layers = np.zeros((2, 8, 8, 4), np.uint8)
    layers[0, 1, 1, 1], layers[1, 5, 5, 3] = 4, 1
    sets = [LabelMapSet(Reference(series="S"), layer, _grid(), {}) for layer in layers]
    row, _ = archive.annotate(*sets)
    assert row.reason == ""
    stored = archive.store.label_map(volume)
    assert (stored[1, 1, 1], stored[5, 5, 3]) == (4, 5)
    assert archive.store.get(volume).annotations.boxes.lower.tolist() == [[0.5, 0.5, 0.5], [4.5, 4.5, 2.5]]


def test_nothing_of_an_image_is_used_where_one_part_is_wrong(archive):
    (volume,) = archive.image("1.dcm", _grid(), series="S")
    row, _ = archive.annotate(_points((3, 3, 4)), _points((3, 3, 99)))
    assert row.outcome == "quarantined"
    assert row.reason.startswith("2 of 2 entries not used")
    assert archive.store.get(volume).annotations is None


def test_images_that_are_named_and_not_there_are_told(archive):
    archive.image("1.dcm", _grid(), series="S", instance="i1")
    row, _ = archive.annotate(_points((3, 3, 4), instances=("i1", "i2", "i3")))
    assert (row.outcome, row.reason) == ("ingested", "2 of the 3 images that it names are not there")


def test_object_that_marks_nothing_is_ignored(archive):
    row, _ = archive.annotate()
    assert (row.outcome, row.reason) == ("ignored", "it marks nothing on an image")


def test_unchanged_object_is_not_read_again(archive):
    (volume,) = archive.image("1.dcm", _grid(), series="S")
    first, outcome = archive.annotate(_points((3, 3, 4)))
    archive.rows[first.path], archive.before = first, {volume: outcome.annotations[0]}
    again, later = archive.annotate()  # its reader would say nothing now
    assert again == first
    assert (later.annotations, later.withdrawn) == ((), ())
    assert len(archive.store.get(volume).annotations) == 1


def test_object_whose_image_changed_is_read_again_and_withdrawn_from_the_old_one(archive):
    (old,) = archive.image("1.dcm", _grid(), series="S")
    first, outcome = archive.annotate(_points((3, 3, 4)))
    (new,) = archive.image("1.dcm", _grid(start=2.0), series="S")
    archive.rows[first.path], archive.before = first, {old: outcome.annotations[0]}
    again, later = archive.annotate(_points((3, 3, 4)))
    assert again.volume_ids == (new,)
    assert later.withdrawn == (old,)
    assert archive.store.get(old).annotations is None


def test_marks_on_single_slices_are_read_with_the_images_that_they_name(archive, monkeypatch):
    (volume,) = archive.image("1.dcm", _grid(), series="S", instance="i1")
    (archive.folder / "1.dcm").write_bytes(b"x")
    asked = []

    def resolved(marks, files):
        asked.append({name: path.name for name, path in files.items()})
        return _points((3, 3, 4), instances=("i1",))

    monkeypatch.setattr("pipeline.sources.annotations.dicom_planes.resolved", resolved)
    on_slice = MarkSet(Reference(instances=("i1",), frames=(1,)), "frame_px", (Mark("x", [[3.5, 3.5, 0]], "point"),))
    path = archive.folder / "1.dcm"
    monkeypatch.setattr(
        "pipeline.sources.annotations.annotate.Images.at_instances", lambda self, names: dict.fromkeys(names, str(path))
    )
    row, _ = archive.annotate(on_slice)
    # The hand-made archive lists the object alone, so its image cannot be looked into.
    assert asked == [{}]
    assert row.volume_ids == (volume,)


def test_index_describes_every_volume_of_a_series(archive, tmp_path):
    first, second = archive.image("1.dcm", _grid(), _grid(), series="S")
    path = tmp_path / "index.csv"
    path.write_text("file,split\n1.dcm,train\n")
    files = {str(one.path): one for one in walk(path)}
    outcome = annotate(
        files, {}, dict(archive.rows), {}, archive.store, PatientKeys(tmp_path), DecodersHere(), lambda *_: None
    )
    assert {one.subset for one in map(archive.store.get, (first, second))} == {"train"}
    assert set(outcome.described) == {first, second}


def test_polygons_of_a_picture_keep_their_mask(archive, tmp_path):
    (volume,) = archive.image("a.png", Grid.of_pixels((8, 8)))
    ring = [[1, 1], [3, 1], [3, 4], [1, 4], [1, 1]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature]))
    files = {str(one.path): one for one in walk(path)}
    annotate(files, {}, dict(archive.rows), {}, archive.store, PatientKeys(tmp_path), DecodersHere(), lambda *_: None)
    expected = np.zeros((8, 8), int)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(archive.store.label_map(volume), expected)
