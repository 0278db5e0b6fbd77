import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.dicom.series import load_series
from pipeline.sources.scan import LoadedScan, RefusedFiles
from tests.sources.written import oblique_slice, oblique_voxels, write

# Another orientation: rows along -x, columns along -y (an axial plane); normal (0, 0, 1).
AXIAL = {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}


def _write(folder, voxels, at=None, **elements):
    """One slice for each place in ``at``; an element that is a list has one value a slice."""
    for n, k in enumerate(at if at is not None else range(voxels.shape[2])):
        own = {key: value[n] if isinstance(value, tuple) else value for key, value in elements.items()}
        write(oblique_slice(k, np.ascontiguousarray(voxels[:, :, n].T), **own), folder / f"{n:03d}.dcm")
    return folder


def _load(archive):
    found = load_series(sorted(archive.rglob("*.dcm")))
    scans = [one for one in found if isinstance(one, LoadedScan)]
    return scans, [one for one in found if isinstance(one, RefusedFiles)]


def _names(refused):
    return sorted(path.rsplit("/", 2)[-2] + "/" + path.rsplit("/", 1)[-1] for path in refused.files)


@pytest.mark.parametrize(
    ("keyword", "values", "parts"),
    [
        ("AcquisitionNumber", (1, 2), ["acquisition 1", "acquisition 2"]),
        ("TemporalPositionIdentifier", (9, 10), ["phase 9", "phase 10"]),
        ("EchoTime", ("4.920", "2.46"), ["echo time 2.46 ms", "echo time 4.92 ms"]),
        ("EchoNumbers", (1, 2), ["echo 1", "echo 2"]),
        ("TriggerTime", (0, 350.5), ["trigger time 0 ms", "trigger time 350.5 ms"]),
        ("DiffusionBValue", (0.0, 1000.0), ["b-value 0 s/mm2", "b-value 1000 s/mm2"]),
        ("DiffusionBValue", (None, 1000.0), ["without b-value", "b-value 1000 s/mm2"]),
        ("FrameReferenceTime", (300, 900), ["frame reference time 300 ms", "frame reference time 900 ms"]),
        ("ConvolutionKernel", ("B30f", "B70f"), ["kernel B30f", "kernel B70f"]),
        ("KVP", (80, 140), ["tube voltage 80 kV", "tube voltage 140 kV"]),
        (
            "ImageType",
            (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]),
            ["image type M", "image type P"],
        ),
    ],
)
def test_attribute_that_varies_at_each_place_names_the_volumes(archive, keyword, values, parts):
    first, second = oblique_voxels(seed=1), oblique_voxels(seed=2)
    _write(archive / "a", first, **{keyword: values[0]})
    _write(archive / "b", second, **{keyword: values[1]})
    scans, refused = _load(archive)
    assert not refused
    assert [scan.part for scan in scans] == parts
    by_first_file = {scan.files[0].rsplit("/", 2)[-2]: scan for scan in scans}
    np.testing.assert_array_equal(by_first_file["a"].image[0], first)
    np.testing.assert_array_equal(by_first_file["b"].image[0], second)


def test_free_text_never_becomes_a_name(archive):
    _write(archive / "a", oblique_voxels(seed=1), ConvolutionKernel="Jane Doe, Main")
    _write(archive / "b", oblique_voxels(seed=2), ConvolutionKernel="B30f")
    scans, _ = _load(archive)
    assert sorted(scan.part for scan in scans) == ["kernel 2 of 2", "kernel B30f"]


def test_two_attributes_that_vary_independently_make_a_volume_for_each_pair(archive):
    for number, (echo, kind) in enumerate([(2.46, "M"), (2.46, "P"), (4.92, "M"), (4.92, "P")]):
        _write(
            archive / str(number), oblique_voxels(seed=number), EchoTime=echo, ImageType=["ORIGINAL", "PRIMARY", kind]
        )
    scans, _ = _load(archive)
    assert sorted(scan.part for scan in scans) == [
        "image type M, echo time 2.46 ms",
        "image type M, echo time 4.92 ms",
        "image type P, echo time 2.46 ms",
        "image type P, echo time 4.92 ms",
    ]


def test_phase_that_lacks_a_slice_is_refused_alone(archive):
    _write(archive / "a", oblique_voxels(seed=1), TemporalPositionIdentifier=1)
    _write(archive / "b", oblique_voxels(seed=2), at=(0, 1, 2, 4, 5), TemporalPositionIdentifier=2)
    (scan,), (refused,) = _load(archive)
    assert (scan.part, scan.grid.shape) == ("phase 1", (12, 8, 6))
    assert _names(refused) == [f"b/{n:03d}.dcm" for n in range(5)]
    assert "1 slice(s) missing" in refused.reason


def test_time_that_differs_from_slice_to_slice_divides_by_its_order_at_each_place(archive):
    # Every slice has a time of its own: 08:00:00 … :05, then 08:59:58 … 09:00:03.
    first, second = oblique_voxels(seed=1), oblique_voxels(seed=2)
    _write(archive / "a", first, AcquisitionTime=tuple(f"08000{n}" for n in range(6)))
    late = ("085958", "085959", "090000", "090001", "090002.5", "090003")
    _write(archive / "b", second, AcquisitionTime=late)
    scans, _ = _load(archive)
    assert [scan.part for scan in scans] == ["phase 1 of 2", "phase 2 of 2"]
    np.testing.assert_array_equal(scans[1].image[0], second)


def test_times_of_passes_that_overlap_tell_nothing(archive):
    _write(archive / "a", oblique_voxels(seed=1), AcquisitionTime=tuple(f"08000{n}" for n in range(6)))
    _write(archive / "b", oblique_voxels(seed=2), AcquisitionTime=tuple(f"08000{n}" for n in range(1, 7)))
    with pytest.raises(SourceError, match="lie at one place"):
        _load(archive)


def test_attribute_with_a_value_for_each_slice_tells_nothing(archive):
    _write(archive / "a", oblique_voxels(seed=1), AcquisitionNumber=tuple(range(6)))
    _write(archive / "b", oblique_voxels(seed=2)[:, :, :1], at=(3,), AcquisitionNumber=77)
    with pytest.raises(SourceError, match="2 slices lie at one place"):
        _load(archive)


def test_empty_slices_of_two_phases_are_no_copies(archive):
    first, second = oblique_voxels(seed=1), oblique_voxels(seed=2)
    first[:, :, 5] = second[:, :, 5] = 0
    _write(archive / "a", first, TemporalPositionIdentifier=1)
    _write(archive / "b", second, TemporalPositionIdentifier=2)
    scans, _ = _load(archive)
    assert [scan.grid.shape for scan in scans] == [(12, 8, 6)] * 2
    assert [scan.copies for scan in scans] == [(), ()]


def test_private_b_value_of_siemens_divides_where_the_standards_is_missing(archive):
    for number, b_value in enumerate(("0", "1000")):
        voxels = oblique_voxels(seed=number)
        for k in range(6):
            made = oblique_slice(k, np.ascontiguousarray(voxels[:, :, k].T))
            made.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0C, "IS", b_value)
            write(made, archive / str(number) / f"{k}.dcm")
    scans, _ = _load(archive)
    assert [scan.part for scan in scans] == ["b-value 0 s/mm2", "b-value 1000 s/mm2"]


def test_localizer_planes_of_one_series_are_volumes_of_their_own(archive):
    _write(archive / "stack", oblique_voxels())
    voxels = oblique_voxels(seed=3)
    places = tuple([0.0, 0.0, 8.0 * n] for n in range(2))
    _write(archive / "axial", voxels[:, :, :2], at=(0, 0), ImagePositionPatient=places, **AXIAL)
    scans, refused = _load(archive)
    assert not refused
    assert [(scan.part, scan.grid.shape) for scan in scans] == [
        ("oblique coronal plane", (12, 8, 6)),
        ("axial plane", (12, 8, 2)),
    ]
    # Rows along LPS -x are RAS +x.
    np.testing.assert_allclose(scans[1].grid.affine[:3, :3], [[0.5, 0, 0], [0, 2.0, 0], [0, 0, 8.0]], atol=1e-12)


def test_single_localizer_slice_beside_a_whole_stack_is_a_volume_as_thick_as_it_says(archive):
    _write(archive / "stack", oblique_voxels())
    _write(archive / "axial", oblique_voxels()[:, :, :1], SliceThickness=6.0, **AXIAL)
    scans, refused = _load(archive)
    assert not refused
    assert [scan.grid.shape[2] for scan in scans] == [6, 1]
    assert scans[1].grid.spacing[2] == 6.0


def test_single_slice_of_another_matrix_is_refused_beside_a_stack_with_a_gap(archive):
    _write(archive / "stack", oblique_voxels()[:, :, :5], at=(0, 1, 2, 4, 5))
    _write(archive / "stray", oblique_voxels()[:, :4, :1], at=(3,))
    scans, refused = _load(archive)
    assert not scans
    assert [len(one.files) for one in refused] == [5, 1]
    assert all("got 12 x 4 and 12 x 8" in one.reason for one in refused)
    assert "1 slice(s) missing" in refused[0].reason


def test_stacks_of_two_thicknesses_one_behind_the_other_are_two_volumes(archive):
    _write(archive / "thin", oblique_voxels()[:, :, :4], SliceThickness=4.0)
    _write(archive / "thick", oblique_voxels()[:, :, :3], at=(4.5, 6.5, 8.5), SliceThickness=8.0)
    scans, _ = _load(archive)
    assert [scan.part for scan in scans] == ["slice thickness 4 mm", "slice thickness 8 mm"]
    assert [round(scan.grid.spacing[2], 6) for scan in scans] == [4.0, 8.0]


def test_acquisitions_one_behind_the_other_do_not_hide_the_slice_between_them(archive):
    _write(archive / "a", oblique_voxels()[:, :, :3], at=(0, 1, 2), AcquisitionNumber=1)
    _write(archive / "b", oblique_voxels()[:, :, :3], at=(4, 5, 6), AcquisitionNumber=2)
    with pytest.raises(SourceError, match="1 slice"):
        _load(archive)


def test_acquisitions_among_each_other_are_two_volumes(archive):
    _write(archive / "a", oblique_voxels(seed=1)[:, :, :4], at=(0, 1, 2, 3), AcquisitionNumber=1)
    _write(archive / "b", oblique_voxels(seed=2)[:, :, :4], at=(0.3, 1.3, 2.3, 3.3), AcquisitionNumber=2)
    scans, _ = _load(archive)
    assert [scan.part for scan in scans] == ["acquisition 1", "acquisition 2"]


def test_pixels_that_cannot_be_read_refuse_their_stack_only_and_name_the_file(archive):
    _write(archive / "stack", oblique_voxels())
    _write(archive / "axial", oblique_voxels()[:, :, :1], **AXIAL)
    broken = oblique_slice(2, np.ascontiguousarray(oblique_voxels()[:, :, 2].T))
    broken.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    broken.PixelData = broken.PixelData[:20] + b"\xff" * 40 + broken.PixelData[60:]
    write(broken, archive / "stack" / "002.dcm")
    scans, refused = _load(archive)
    assert not scans  # a single slice beside a stack that is not whole
    reasons = {name: one.reason for one in refused for name in _names(one)}
    assert "cannot be decoded" in reasons["stack/002.dcm"]
    assert reasons["stack/001.dcm"] == "its stack is not whole: 1 of 6 files cannot be read"


def test_two_broken_headers_have_their_own_reasons(archive):
    _write(archive / "stack", oblique_voxels())
    for n, elements in ((1, {"RescaleSlope": 0}), (4, {"ImagePositionPatient": None})):
        write(oblique_slice(n, np.zeros((8, 12), dtype=np.int16), **elements), archive / "stack" / f"00{n}.dcm")
    scans, refused = _load(archive)
    assert not scans
    reasons = {name: one.reason for one in refused for name in _names(one)}
    assert len(reasons) == 6
    assert "RescaleSlope is 0" in reasons["stack/001.dcm"]
    assert "ImagePositionPatient is missing" in reasons["stack/004.dcm"]
    assert "2 of 6 files" in reasons["stack/000.dcm"]
