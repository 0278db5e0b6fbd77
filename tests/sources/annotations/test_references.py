import pytest

from pipeline.errors import AnnotationError
from pipeline.sources.annotations.layouts import image_of, label_rule
from pipeline.sources.annotations.marks import Reference
from pipeline.sources.annotations.references import Images, MissingImage, base_of
from pipeline.sources.catalog import FileRecord
from pipeline.sources.identifiers import uid_digest


def _image(path, *volumes, **more):
    return FileRecord(path, 1, 1, "", "image", "ingested" if volumes else "quarantined", volume_ids=volumes, **more)


IMAGES = Images(
    [
        _image("/d/images/a.png", "va"),
        _image("/d/images/train/b.png", "vb1"),
        _image("/d/images/val/b.png", "vb2"),
        _image("/d/images/broken.png"),
        _image("/d/four.nii.gz", "v4a", "v4b"),
        _image("/d/1.2.3.nii.gz", "vn"),
        _image("/d/ct/s1/1.dcm", "vc", series="S", instance="i1"),
        _image("/d/ct/s1/2.dcm", "vc", series="S", instance="i2"),
        _image("/d/mr/1.dcm", "vm1", series="M", instance="i3"),
        _image("/d/mr/2.dcm", "vm2", series="M", instance="i4"),
        _image("/e/a.png", "ve"),
    ]
)


@pytest.mark.parametrize(
    ("name", "volumes"),
    [
        ("images/a.png", ("va",)),  # a path below the archive
        ("a.png", ("va",)),
        ("a", ("va",)),
        ("train/b.png", ("vb1",)),  # the end of a path
        ("images\\val\\b.png", ("vb2",)),
        ("./images/a.png", ("va",)),
        ("four", ("v4a", "v4b")),  # both volumes of one file
        ("s1", ("vc",)),  # the folder of a series
        ("ct/s1", ("vc",)),
        ("/d/images/a.png", ("va",)),
        ("vm2", ("vm2",)),  # a volume's own id
    ],
)
def test_names_are_found_below_their_base(name, volumes):
    assert IMAGES.volumes(Reference(file=name), "/d") == volumes


@pytest.mark.parametrize(
    ("reference", "volumes"),
    [
        (Reference(series="S"), ("vc",)),
        (Reference(series="M"), ("vm1", "vm2")),
        (Reference(series=uid_digest("1.2.3")), ("vn",)),  # a converted series, named by its UID
        (Reference(instances=("i4", "gone")), ("vm2",)),
        (Reference(instances=("i3", "i4")), ("vm1", "vm2")),
    ],
)
def test_series_and_instances_give_the_volumes_that_hold_them(reference, volumes):
    assert set(IMAGES.volumes(reference, "/d")) == set(volumes)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        (Reference(file="b.png"), "2 volumes fit, so it is not clear which is meant"),
        (Reference(file="c.png"), "there is no image that it could belong to"),
        (Reference(file="ain/b.png"), "there is no image"),
        (Reference(series="gone"), "there is no image"),
        (Reference(instances=("gone",)), "there is no image"),
        (Reference(instances=("i1", "i3")), "3 volumes fit|2 volumes fit"),
    ],
)
def test_nothing_is_chosen_among_several_sources_or_none(reference, reason):
    with pytest.raises(AnnotationError, match=reason):
        IMAGES.volumes(reference, "/d")


def test_image_that_was_refused_is_there():
    with pytest.raises(MissingImage, match="its image was quarantined"):
        IMAGES.volumes(Reference(file="broken"), "/d")


def test_references_are_relative_to_the_folder_above_annotations():
    assert [base_of(f"/d/{path}") for path in ("a.json", "x/a.json", "annotations/a.json", "Annotations/x/a.json")] == [
        "/d", "/d/x", "/d", "/d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "volumes"),
    [
        ("/d/labels/a.png", ("va",)),
        ("/d/annotations/masks/a.png", ("va",)),
        ("/d/images/a.geojson", ("va",)),
        ("/d/images/a.png.geojson", ("va",)),
        ("/d/annotations/a.geojson", ("va",)),
        ("/d/images/mask_a.png", ("va",)),
        ("/d/ct/s1/F.mrk.json", ("vc",)),  # the only series beside it
        ("/d/images/a.mrk.json", ("va",)),
        ("/d/ct/s1/Segmentation.seg.nrrd", ("vc",)),
    ],
)
def test_files_without_reference_mean_the_image_of_their_name_and_place(path, volumes):
    assert image_of(path, IMAGES) == volumes


@pytest.mark.parametrize("path", ["/d/ct/s1/F.geojson", "/d/images/train/c.geojson", "/d/images/c.fcsv"])
def test_other_names_mean_no_image(path):
    with pytest.raises(AnnotationError):
        image_of(path, IMAGES)


def test_label_maps_are_told_by_folder_name_and_suffix():
    rules = {
        "/d/labels/a.png": "instances",
        "/d/mask/a.nii.gz": "mask",
        "/d/p/lesions.nii": "lesions",
        "/d/a_seg.nrrd": "mask",
        "/d/a.seg.nrrd": "instances",
        "/d/images/a.seg.nhdr": "instances",
        "/d/a.png": None,
        "/d/segment.png": None,
    }
    assert {path: label_rule(path) for path in rules} == rules
