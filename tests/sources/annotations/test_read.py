import json

import numpy as np
import pytest

from pipeline.geometry import Grid
from pipeline.sources.annotations import read
from pipeline.sources.annotations.formats import dicom_format, format_of
from pipeline.sources.annotations.marks import LabelMapSet, Mark, MarkSet, Reference, Refused
from pipeline.sources.annotations.read import contents, discard, read_annotations
from pipeline.volumes.arrays import StoredArray
from tests.phantoms import awkward_grid


def _through_the_child(monkeypatch, tmp_path, sets):
    monkeypatch.setattr(read, "reader", lambda name: lambda path: sets)
    (tmp_path / "a").write_bytes(b"x")
    reply = json.loads(json.dumps(read_annotations(tmp_path / "a", "coco", tmp_path / "out")))
    return contents(reply), reply


MARKS = (
    Mark("tumour", [[1.5, 2.5, 3.5]], "sphere", size=(4.0,)),
    Mark("", [[0.0, 0, 0], [1, 2, 3]], "box", ignore=True),
    Mark("tumour", np.arange(21.0).reshape(7, 3), "polygon", slab_mm=1.25, rings=(3, 4)),
    Mark("b", [[1.0, 2, 3]], "sphere", size=(1.0, 2.0, 3.0)),
)


def test_everything_that_a_reader_says_arrives(monkeypatch, tmp_path):
    grid = awkward_grid((3, 4, 5))
    labels = np.zeros((3, 4, 5), np.uint16)
    labels[2, 1:3, 4] = 7
    sets = [
        MarkSet(Reference(series="ab"), "lps_mm", MARKS, True, ("told",), (3, 4, 5)),
        Refused("wrong"),
        LabelMapSet(Reference(instances=("x", "y"), frames=(1, 2)), labels, grid, {7: "rim"}, ("noted",)),
        MarkSet(Reference(file="é/a.png"), "edge_px", (Mark("c", [[0.5, 1.5]], "point"),)),
        MarkSet(Reference(file="empty"), "index", ()),
    ]
    said, reply = _through_the_child(monkeypatch, tmp_path, sets)
    first, refused, label_map, points, empty = said.sets
    assert (first.reference, first.frame, first.from_points) == (sets[0].reference, "lps_mm", True)
    assert (first.notes, first.shape) == (("told",), (3, 4, 5))
    for got, sent in zip(first.marks, MARKS, strict=True):
        np.testing.assert_array_equal(got.points, sent.points)
        assert (got.label, got.kind, got.size, got.ignore) == (sent.label, sent.kind, sent.size, sent.ignore)
        assert (got.slab_mm, got.rings) == (sent.slab_mm, sent.rings)
    assert refused == Refused("wrong")
    assert label_map.reference == sets[2].reference
    assert (label_map.values.tolist(), label_map.labels, label_map.notes) == ([7], {7: "rim"}, ("noted",))
    assert (label_map.boxes.lower.tolist(), label_map.boxes.upper.tolist()) == ([[1.5, 0.5, 3.5]], [[2.5, 2.5, 4.5]])
    np.testing.assert_array_equal(StoredArray.open(label_map.path)[0], labels)
    np.testing.assert_array_equal(label_map.grid.affine, grid.affine)
    assert points.marks[0].points.tolist() == [[0.5, 1.5]]
    assert empty.marks == ()
    discard(reply)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_file_of_no_format_says_nothing(tmp_path):
    (tmp_path / "a.csv").write_text("item,price\na,1\n")
    reply = read_annotations(tmp_path / "a.csv", "", tmp_path / "out")
    said = contents(reply)
    assert (said.format, said.sets, said.table) == (None, (), None)
    assert len(said.digest) == 64


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("file,split\na,train\n", "index"),
        ("seriesuid,coordX,coordY,coordZ,diameter_mm,file,split\n", "index"),
        ("seriesuid,coordX,coordY,coordZ,class\n", "luna16"),
        ("IMAGE_ID,Value,Label\na,1,x\n", "label_classes"),
        ("\ufeffimage_id,x_px,y_px,label\n", "centres"),
        ("{}", None),
        ("[1, 2]", None),
        ("", None),
        ("<html></html>", None),
    ],
)
def test_format_is_found_by_content(tmp_path, text, name):
    (tmp_path / "anything.txt").write_text(text, encoding="utf-8")
    assert format_of(tmp_path / "anything.txt") == name


def test_dicom_objects_are_told_by_their_class():
    classes = ("66.4", "66.7", "481.3", "88.33", "91.1", "2")
    names = [dicom_format(f"1.2.840.10008.5.1.4.1.1.{leaf}") for leaf in classes]
    assert names == ["dicom-seg", "dicom-seg", "dicom-rtstruct", "dicom-sr", "dicom-bulk", None]


def test_labels_that_are_all_objects_leave_no_background(monkeypatch, tmp_path):
    labels = np.full((2, 2), 5_000_000, np.int64)
    labels[0, 0] = 3
    sets = [LabelMapSet(Reference(file="a"), labels, Grid.of_pixels((2, 2)), {})]
    said, _ = _through_the_child(monkeypatch, tmp_path, sets)
    assert said.sets[0].values.tolist() == [3, 5_000_000]
    assert StoredArray.open(said.sets[0].path)[0].tolist() == [[1, 2], [2, 2]]
