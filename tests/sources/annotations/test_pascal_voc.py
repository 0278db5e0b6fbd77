import pytest

from pipeline.errors import AnnotationError
from pipeline.geometry import Grid
from pipeline.sources.annotations.formats import format_of
from pipeline.sources.annotations.pascal_voc import read_pascal_voc
from pipeline.sources.annotations.place import place

OBJECT = "<object><name>tumour</name><difficult>{}</difficult><bndbox>{}</bndbox></object>"


def _box(left, top, right, bottom):
    return f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"


def _write(path, *objects, size="<size><width>30</width><height>20</height><depth>3</depth></size>", head=""):
    path.write_text(f"{head}<annotation><filename>a.png</filename>{size}{''.join(objects)}</annotation>")
    return path


def test_pixels_count_from_1_and_the_last_belongs_to_the_box(tmp_path):
    path = _write(tmp_path / "a.xml", OBJECT.format(0, _box(1, 1, 1, 1)), OBJECT.format(1, _box(10, 5, 30, 20)))
    assert format_of(path) == "pascal-voc"
    (one,) = read_pascal_voc(path)
    annotations = place(one, Grid.of_pixels((30, 20)), {}).annotations
    # Pixel 1 is index 0, which covers -0.5 … 0.5; pixels 10 … 30 are indices 9 … 29.
    assert annotations.boxes.lower.tolist() == [[-0.5, -0.5], [8.5, 3.5]]
    assert annotations.boxes.upper.tolist() == [[0.5, 0.5], [29.5, 19.5]]
    assert annotations.ignore.tolist() == [False, True]
    assert one.reference.file == "a.png"


def test_no_objects_is_no_finding(tmp_path):
    (one,) = read_pascal_voc(_write(tmp_path / "a.xml"))
    assert one.marks == ()


def test_image_of_another_size_is_not_annotated(tmp_path):
    (one,) = read_pascal_voc(_write(tmp_path / "a.xml"))
    with pytest.raises(AnnotationError, match=r"an image of \(30, 20\) pixels, this one has \(20, 30\)"):
        place(one, Grid.of_pixels((20, 30)), {})


def test_size_of_0_is_not_known(tmp_path):
    (one,) = read_pascal_voc(_write(tmp_path / "a.xml", size="<size><width>0</width><height>0</height></size>"))
    assert one.shape == ()


@pytest.mark.parametrize(
    "head",
    ['<!DOCTYPE annotation [<!ENTITY a "aaaa">]>', '<?xml version="1.0"?><!DOCTYPE annotation SYSTEM "file:///x">'],
)
def test_document_type_is_refused(tmp_path, head):
    path = _write(tmp_path / "a.xml", head=head)
    assert format_of(path) is None
    with pytest.raises(AnnotationError, match="document type"):
        read_pascal_voc(path)


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (_box(3, 1, 2, 1), "a box ends before it starts"),
        (_box("x", 1, 2, 1), "expected 4 finite numbers"),
        ("<xmin>1</xmin>", "expected 4 finite numbers"),
    ],
)
def test_box_that_does_not_hold_is_refused(tmp_path, box, reason):
    with pytest.raises(AnnotationError, match=reason):
        read_pascal_voc(_write(tmp_path / "a.xml", OBJECT.format(0, box)))


def test_other_xml_is_none(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation><author>x</author></annotation>")
    (tmp_path / "b.xml").write_text("<annotation><filename>")
    assert [format_of(tmp_path / name) for name in ("a.xml", "b.xml")] == [None, None]
