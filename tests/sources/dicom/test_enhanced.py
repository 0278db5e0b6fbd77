"""Enhanced multi-frame objects: frames become volumes by the same rules as the slices of a series."""

import os
import subprocess
from pathlib import Path
from shutil import which

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.dicom.enhanced import load_enhanced
from pipeline.sources.dicom.series import load_series
from pipeline.sources.options import ReadOptions
from pipeline.sources.scan import LoadedScan, RefusedFiles
from tests.sources.dicom.written_frames import ENHANCED_CT, ENHANCED_MR, OBLIQUE, Groups, enhanced, items, place, save
from tests.sources.written import oblique_slice, oblique_voxels, write

_DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"
# Frame 0 is the third slice: the order in the file says nothing.
_SHUFFLED = (2, 0, 3, 1)


def _voxels(seed: int = 0, frames: int = 4) -> np.ndarray:
    """``(frame, row, column)``: 6 columns, 5 rows."""
    return np.random.default_rng(seed).integers(-900, 900, (frames, 5, 6)).astype(np.int16)


def _one(*paths: Path, tilt: str = "refuse") -> LoadedScan:
    (scan,) = load_enhanced(list(paths), ReadOptions(tilt=tilt))  # type: ignore[arg-type]
    assert isinstance(scan, LoadedScan)
    return scan


def test_frames_are_ordered_by_place_and_lie_where_their_groups_say(tmp_path: Path) -> None:
    voxels = _voxels()
    made = enhanced(voxels, [place(k) for k in _SHUFFLED])
    scan = _one(save(made, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(scan.image[0], voxels[np.argsort(_SHUFFLED)].transpose(2, 1, 0))
    # LPS (10, -20, 30) + 3 * 0.5 * (0.8, 0.6, 0) + 2 * 2 * (0, 0, -1) + 1 * 4 * (-0.6, 0.8, 0); RAS turns x and y.
    np.testing.assert_allclose(scan.grid.to_world(np.array([[3.0, 2.0, 1.0]])), [[-8.8, 15.9, 26.0]])
    assert (scan.patient_id, scan.modality, scan.part, scan.notes) == ("P1", "CT", "", ())


def test_every_frame_has_its_own_rescale(tmp_path: Path) -> None:
    voxels = _voxels(frames=2)
    frames: list[Groups] = [
        {**place(k), "PixelValueTransformationSequence": {"RescaleSlope": slope, "RescaleIntercept": offset}}
        for k, (slope, offset) in enumerate(((1, -1024), (2, 0.5)))
    ]
    scan = _one(save(enhanced(voxels, frames), tmp_path / "a.dcm"))
    expected = np.stack([voxels[0] - 1024.0, voxels[1] * 2 + 0.5])
    np.testing.assert_array_equal(scan.image[0], expected.transpose(2, 1, 0).astype(np.float32))


def test_whole_offsets_keep_whole_numbers(tmp_path: Path) -> None:
    voxels = _voxels()
    shared = {**OBLIQUE, "PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": -1024}}
    scan = _one(save(enhanced(voxels, [place(k) for k in range(4)], shared), tmp_path / "a.dcm"))
    assert scan.image.dtype == np.int16
    np.testing.assert_array_equal(scan.image[0], voxels.transpose(2, 1, 0) - 1024)


def _of(sequence: str, keyword: str, *values: object) -> list[Groups]:
    """The same group with each of ``values``."""
    return [{sequence: {keyword: value}} for value in values]


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        (_of("MREchoSequence", "EffectiveEchoTime", 9.84, 4.92), ["echo time 4.92 ms", "echo time 9.84 ms"]),
        (_of("MRDiffusionSequence", "DiffusionBValue", 1000, 0), ["b-value 0 s/mm2", "b-value 1000 s/mm2"]),
        (_of("FrameContentSequence", "TemporalPositionIndex", 2, 1), ["phase 1", "phase 2"]),
        (_of("CTXRayDetailsSequence", "KVP", 140, 80), ["tube voltage 80 kV", "tube voltage 140 kV"]),
        (_of("FrameContentSequence", "DimensionIndexValues", [1, 8], [1, 7]), ["dimension 1 of 2", "dimension 2 of 2"]),
    ],
)
def test_frames_at_one_place_are_divided_by_the_fact_in_which_they_differ(
    tmp_path: Path, facts: list[Groups], parts: list[str]
) -> None:
    voxels = _voxels(frames=6)
    frames = [{**place(k), **fact} for k in range(3) for fact in facts]
    made = enhanced(voxels, frames, sop_class=ENHANCED_MR)
    made.DimensionIndexSequence = [items(DimensionIndexPointer=tag)[0] for tag in (0x00209056, 0x00189082)]
    scans = load_enhanced([save(made, tmp_path / "a.dcm")])
    assert [scan.part for scan in scans] == parts
    # The second fact of each pair sorts first.
    np.testing.assert_array_equal(scans[0].image[0], voxels[1::2].transpose(2, 1, 0))
    np.testing.assert_array_equal(scans[1].image[0], voxels[0::2].transpose(2, 1, 0))


def test_a_diffusion_scan_is_divided_by_b_value_and_direction(tmp_path: Path) -> None:
    def weighted(b: float, *direction: float) -> Groups:
        way = {"DiffusionGradientDirectionSequence": {"DiffusionGradientOrientation": list(direction)}}
        return {
            "MRDiffusionSequence": {"DiffusionBValue": b, **(way if direction else {"DiffusionDirectionality": "NONE"})}
        }

    facts = [weighted(0), weighted(800, 1, 0, 0), weighted(800, 0, 0.6, 0.8)]
    frames = [{**place(k), **fact} for fact in facts for k in range(3)]
    voxels = _voxels(frames=9)
    scans = load_enhanced([save(enhanced(voxels, frames, sop_class=ENHANCED_MR), tmp_path / "a.dcm")])
    found = {scan.part: scan for scan in scans}
    assert len(found) == 3
    assert sorted(scan.attributes["b_value_s_per_mm2"] for scan in scans) == ["0", "800", "800"]
    (plain,) = (scan for scan in scans if scan.attributes["b_value_s_per_mm2"] == "0")
    np.testing.assert_array_equal(plain.image[0], voxels[:3].transpose(2, 1, 0))
    assert {scan.files for scan in scans} == {(str(tmp_path / "a.dcm"),)}


def test_stacks_one_behind_the_other_are_volumes_of_their_own(tmp_path: Path) -> None:
    stacks = [("1", k) for k in (0, 1, 2)] + [("2", k) for k in (20, 21, 22)]
    frames = [{**place(k), "FrameContentSequence": {"StackID": stack}} for stack, k in stacks]
    voxels = _voxels(frames=6)
    scans = load_enhanced([save(enhanced(voxels, frames), tmp_path / "a.dcm")])
    assert [scan.part for scan in scans] == ["stack 1", "stack 2"]
    np.testing.assert_array_equal(scans[1].image[0], voxels[3:].transpose(2, 1, 0))


def test_planes_of_two_orientations_are_two_volumes(tmp_path: Path) -> None:
    def axial(k: float) -> Groups:
        return {
            "PlanePositionSequence": {"ImagePositionPatient": [0.0, 0.0, 2.0 * k]},
            "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        }

    voxels = _voxels(frames=5)
    made = enhanced(voxels, [place(0), place(1), axial(0), axial(1), axial(2)])
    scans = load_enhanced([save(made, tmp_path / "a.dcm")])
    assert [scan.grid.shape for scan in scans] == [(6, 5, 3), (6, 5, 2)]
    assert scans[0].part == "axial plane"
    np.testing.assert_allclose(scans[0].grid.spacing, [0.5, 2, 2])


def test_the_parts_of_a_concatenation_make_one_volume(tmp_path: Path) -> None:
    voxels = _voxels()
    paths = _concatenated(tmp_path, voxels)
    scan = _one(*paths)
    np.testing.assert_array_equal(scan.image[0], voxels.transpose(2, 1, 0))
    assert set(scan.files) == set(map(str, paths))


def test_a_missing_part_of_a_concatenation_is_refused(tmp_path: Path) -> None:
    first, second = _concatenated(tmp_path, _voxels())
    with pytest.raises(SourceError, match="a concatenation of 2 parts has 1 of them: missing 1"):
        load_enhanced([second])
    with pytest.raises(SourceError, match="a concatenation of 2 parts has 1 of them: missing 2"):
        load_enhanced([first])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"InConcatenationNumber": 1}, "2 different parts of a concatenation have 1 numbers"),
        ({"ConcatenationFrameOffsetNumber": 3}, "part 2 of a concatenation must start at frame 2, got 3"),
        ({"InConcatenationTotalNumber": 3}, "has 2 of them: missing 3"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, int], reason: str) -> None:
    first, second = _concatenated(tmp_path, _voxels())
    made = pydicom.dcmread(second)
    for keyword, value in change.items():
        setattr(made, keyword, value)
    save(made, second)
    with pytest.raises(SourceError, match=reason):
        load_enhanced([first, second])


def _concatenated(folder: Path, voxels: np.ndarray) -> list[Path]:
    paths = []
    for number in (1, 2):
        part = slice(2 * number - 2, 2 * number)
        made = enhanced(
            voxels[part],
            [place(k) for k in range(4)[part]],
            ConcatenationUID="1.2.3.9",
            InConcatenationNumber=number,
            InConcatenationTotalNumber=2,
            ConcatenationFrameOffsetNumber=part.start,
        )
        paths.append(save(made, folder / f"{number}.dcm"))
    return paths


def test_files_of_one_series_are_pooled(tmp_path: Path) -> None:
    voxels = _voxels()
    paths = [save(enhanced(voxels[k : k + 1], [place(k)]), tmp_path / f"{k}.dcm") for k in range(4)]
    np.testing.assert_array_equal(_one(*paths).image[0], voxels.transpose(2, 1, 0))


def test_identical_frames_at_one_place_are_taken_once(tmp_path: Path) -> None:
    voxels = _voxels()[[0, 1, 2, 1]]
    path = save(enhanced(voxels, [place(k) for k in (0, 1, 2, 1)]), tmp_path / "a.dcm")
    scan = _one(path)
    np.testing.assert_array_equal(scan.image[0], voxels[:3].transpose(2, 1, 0))
    assert scan.notes == ("1 identical copies of slices left out",)
    assert scan.copies == ()


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ((0, 1, 3, 4), r"1 slice\(s\) missing between"),
        ((0, 1, 1, 2), "2 slices lie at one place .* and differ"),
        ((0, 1, 2.4, 3), "slice distances are uneven"),
    ],
)
def test_frames_that_do_not_stack_are_refused(tmp_path: Path, places: tuple[float, ...], reason: str) -> None:
    path = save(enhanced(_voxels(), [place(k) for k in places]), tmp_path / "a.dcm")
    with pytest.raises(GeometryError, match=reason):
        load_enhanced([path])


def test_a_tilted_stack_is_refused_or_sheared_by_the_option(tmp_path: Path) -> None:
    leaning = [place(k, (10 + 0.4 * k, -20 + 0.3 * k, 30.0)) for k in range(4)]  # half a mm along i a slice: one pixel
    voxels = _voxels()
    path = save(enhanced(voxels, leaning), tmp_path / "a.dcm")
    with pytest.raises(GeometryError, match=r"gantry tilt of 7.1 degrees"):
        load_enhanced([path])
    scan = _one(path, tilt="shear")
    np.testing.assert_array_equal(scan.image[0, 3:9, :, 3], voxels[3].T)


def test_frames_that_make_no_volume_beside_others_are_told(tmp_path: Path) -> None:
    turned = {"PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}}
    frames = [place(0), place(1), place(2), *({**place(k), **turned} for k in (0, 1, 5, 6))]
    found = load_enhanced([save(enhanced(_voxels(frames=7), frames), tmp_path / "a.dcm")])
    assert not any(isinstance(one, RefusedFiles) for one in found)
    assert [scan.grid.shape for scan in found] == [(6, 5, 3)]
    assert any("other frames of its files make no volume" in note for note in found[0].notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 0}, "Rows and Columns must be at least 1"),
        ({"NumberOfFrames": 5}, "calls for 300 bytes of pixels in 5 frames, 240 are there"),
        ({"NumberOfFrames": 10**9}, "NumberOfFrames must be 1"),
        ({"PixelData": b"\0" * 100}, "calls for 240 bytes of pixels in 4 frames, 100 are there"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "1 bit"),
    ],
)
def test_a_wrong_header_is_refused_with_its_numbers(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    path = save(enhanced(_voxels(), [place(k) for k in range(4)], **change), tmp_path / "a.dcm")
    with pytest.raises(SourceError, match=reason):
        load_enhanced([path])


def test_too_many_voxels_are_refused_before_they_are_read(tmp_path: Path) -> None:
    made = enhanced(_voxels(), [place(k) for k in range(4)])
    made.file_meta.TransferSyntaxUID = RLELossless
    made.Rows = made.Columns = 40000
    made.PixelData = encapsulate([b"\0" * 64] * 4)
    made["PixelData"].is_undefined_length = True
    with pytest.raises(SourceError, match=r"4 frames are 23.8 GiB of voxels, more than 4 GiB"):
        load_enhanced([save(made, tmp_path / "a.dcm")])


@pytest.mark.parametrize("group", ["PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_a_frame_without_a_place_is_refused_and_named(tmp_path: Path, group: str) -> None:
    frames = [{**place(k), **OBLIQUE} for k in range(4)]
    del frames[2][group]
    with pytest.raises(GeometryError, match=r"frame 3 of 4: .* is in no functional group"):
        load_enhanced([save(enhanced(_voxels(), frames, {}), tmp_path / "a.dcm")])


def test_frames_of_two_patients_are_refused(tmp_path: Path) -> None:
    paths = [
        save(enhanced(_voxels(frames=1), [place(k)], PatientID=name), tmp_path / f"{k}.dcm")
        for k, name in enumerate("ab")
    ]
    with pytest.raises(SourceError, match="2 different patients"):
        load_enhanced(paths)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_every_way_of_writing_gives_the_same_voxels(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    voxels = _voxels()
    made = enhanced(voxels, [place(k) for k in range(4)])
    if syntax == RLELossless:
        made.compress(RLELossless)
    elif syntax == ExplicitVRBigEndian:
        made.PixelData = voxels.astype(">i2").tobytes()
        made["PixelData"].VR = "OW"
    made.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "a.dcm"
    made.set_original_encoding(syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    made.save_as(path, enforce_file_format=True, implicit_vr=None)
    np.testing.assert_array_equal(_one(path).image[0], voxels.transpose(2, 1, 0))


def test_what_highdicom_converts_from_slices_is_read_as_the_slices_are(tmp_path: Path) -> None:
    legacy = pytest.importorskip("highdicom.legacy")
    voxels = oblique_voxels()
    slices = [oblique_slice(k, voxels[:, :, k].T.copy(), RescaleIntercept=-1024, **_LEGACY) for k in range(6)]
    paths = [write(one, tmp_path / "series" / f"{k}.dcm") for k, one in enumerate(slices)]
    (expected,) = load_series(paths)
    made = legacy.LegacyConvertedEnhancedCTImage(slices, "1.2.3.5", 1, "1.2.3.6", 1)
    scan = _one(save(made, tmp_path / "a.dcm"))
    np.testing.assert_array_equal(scan.image, expected.image)
    np.testing.assert_allclose(scan.grid.affine, expected.grid.affine)


_LEGACY: dict[str, object] = {
    "StudyDate": "20200101",
    "StudyTime": "120000",
    "SeriesDate": "20200101",
    "SeriesTime": "120000",
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "FrameOfReferenceUID": "1.2.3.7",
    "PositionReferenceIndicator": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "AccessionNumber": "",
    "ReferringPhysicianName": "",
    "StudyID": "",
    "Manufacturer": "",
    "InstanceNumber": 1,
    "SeriesNumber": 1,
}


@pytest.mark.parametrize("name", ["24x38x3", "23x38x3"])
def test_public_multi_frame_objects_equal_what_dcm2niix_makes_of_them(tmp_path: Path, name: str) -> None:
    path = _DATA / "dcmqi" / "data" / "segmentations" / name / "multiframe" / "mf.dcm"
    if not path.exists() or which("dcm2niix") is None:
        pytest.skip(f"{path} (CELLSCAN_DATA) or dcm2niix is not there")
    subprocess.run(["dcm2niix", "-z", "n", "-f", "x", "-o", tmp_path, path.parent], check=True, capture_output=True)
    peer = nib.load(tmp_path / "x.nii")
    scan = _one(path)
    voxels = np.asarray(peer.dataobj)
    indices = np.argwhere(np.ones(voxels.shape, bool))
    here = scan.grid.to_voxel(nib.affines.apply_affine(peer.affine, indices))
    np.testing.assert_allclose(here, np.rint(here), atol=1e-4)
    np.testing.assert_array_equal(scan.image[0][tuple(np.rint(here).astype(int).T)], voxels.ravel())


def test_a_ct_object_says_what_it_is(tmp_path: Path) -> None:
    shared = {**OBLIQUE, "CTReconstructionSequence": {"ConvolutionKernel": "B30f"}}
    made = enhanced(_voxels(), [place(k) for k in range(4)], shared, ENHANCED_CT, Manufacturer="Maker")
    scan = _one(save(made, tmp_path / "a.dcm"))
    assert scan.attributes == {
        "format": "dicom",
        "manufacturer": "Maker",
        "convolution_kernel": "B30f",
        "slice_thickness_mm": "4.0",
    }
