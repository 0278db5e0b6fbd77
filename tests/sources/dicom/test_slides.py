"""Whole slide images: assembled tiles equal the picture that was cut, wherever a level's tiles come from."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from pipeline.errors import GeometryError, SourceError
from pipeline.geometry import Grid
from pipeline.sources.dicom.slide_frame import slide_to_index
from pipeline.sources.dicom.slides import load_slides
from pipeline.sources.scan import LoadedScan, RefusedFiles
from tests.sources.dicom.written_frames import LABEL, as_jpeg, items, jpeg, save, slide, sparse, tiles_of

_DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"
_SIZE, _TILE = (10, 7), (4, 3)


def _picture(size: tuple[int, int] = _SIZE, seed: int = 0) -> np.ndarray:
    """``(row, column, 3)``."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def _level(path: Path, picture: np.ndarray, **more: object) -> Path:
    return save(slide(tiles_of(picture, _TILE), picture.shape[1::-1], **more), path)


def _one(*paths: Path) -> LoadedScan:
    (scan,) = load_slides(list(paths))
    assert isinstance(scan, LoadedScan)
    return scan


def _refused(*paths: Path) -> RefusedFiles:
    (refused,) = load_slides(list(paths))
    assert isinstance(refused, RefusedFiles)
    return refused


def test_a_tiled_full_level_is_the_picture_that_was_cut(tmp_path: Path) -> None:
    picture = _picture()
    scan = _one(_level(tmp_path / "a.dcm", picture))
    assert scan.image.dtype == np.uint8
    np.testing.assert_array_equal(scan.image[:, :, :], picture.transpose(2, 1, 0))
    assert scan.part == "level 0, 0.5 um per pixel"
    assert scan.attributes["um_per_pixel"] == "0.5"
    assert (scan.modality, scan.patient_id, scan.notes) == ("SM", "P1", ())


def test_one_point_of_the_tissue_has_one_place_in_every_level(tmp_path: Path) -> None:
    shared = items(PixelMeasuresSequence={"PixelSpacing": [0.002, 0.001]})  # rows are 2 um apart, columns 1 um
    _level(tmp_path / "fine.dcm", _picture())
    coarse = _level(tmp_path / "coarse.dcm", _picture((5, 2)), SharedFunctionalGroupsSequence=shared)
    scans = load_slides([coarse, tmp_path / "fine.dcm"])
    assert [scan.part for scan in scans] == ["level 0, 0.5 um per pixel", "level 1, 1.0 x 2.0 um per pixel"]
    corners = [scan.grid.to_world(np.array([[-0.5, -0.5]])) for scan in scans]
    np.testing.assert_allclose(corners, np.zeros((2, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(scans[1].grid.to_world(np.array([[1.0, 1.0]])), [[0.0015, 0.003]])


def test_without_pixel_spacing_the_imaged_volume_gives_it_and_without_both_there_is_none(tmp_path: Path) -> None:
    nothing = items(PixelMeasuresSequence={"SliceThickness": 1.0})
    more = {"ImagedVolumeWidth": 5.0, "ImagedVolumeHeight": 14.0}
    stated = _one(_level(tmp_path / "a.dcm", _picture(), SharedFunctionalGroupsSequence=nothing, **more))
    np.testing.assert_allclose(stated.grid.spacing, [0.5, 2.0])
    unstated = _one(_level(tmp_path / "b.dcm", _picture(), SharedFunctionalGroupsSequence=nothing))
    assert unstated.grid.unit == "px"
    assert unstated.part == "level 0"


def test_jpeg_tiles_are_what_pydicom_decodes(tmp_path: Path) -> None:
    tiles = [np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in tiles_of(_picture(), _TILE)]
    made = slide(tiles, (80, 56))
    path = save(as_jpeg(made, [jpeg(one) for one in tiles]), tmp_path / "a.dcm")
    frames = pydicom.dcmread(path).pixel_array
    whole = np.concatenate([np.concatenate(list(frames[row : row + 3]), axis=1) for row in (0, 3, 6)], axis=0)
    np.testing.assert_array_equal(_one(path).image[:, :, :], whole[:56, :80].transpose(2, 1, 0))


def test_frames_in_several_fragments_are_put_together(tmp_path: Path) -> None:
    tiles = [np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in tiles_of(_picture(), _TILE)]
    frames = [jpeg(one) for one in tiles]
    plain = save(as_jpeg(slide(tiles, (80, 56)), frames), tmp_path / "plain.dcm")
    expected = _one(plain).image[:, :, :]
    for has_table in (True, False):
        made = as_jpeg(slide(tiles, (80, 56)), frames)
        made.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=has_table)
        np.testing.assert_array_equal(_one(save(made, tmp_path / "cut.dcm")).image[:, :, :], expected)


def test_sparse_tiles_lie_where_they_say_and_what_is_absent_is_counted(tmp_path: Path) -> None:
    picture = _picture((8, 6))
    tiles = tiles_of(picture, _TILE)
    made = sparse([tiles[3], tiles[0]], [(5, 4), (1, 1)], (8, 6), RecommendedAbsentPixelCIELabValue=[0, 0x8080, 0x8080])
    scan = _one(save(made, tmp_path / "a.dcm"))
    expected = np.zeros((6, 8, 3), np.uint8)
    expected[:3, :4], expected[3:, 4:] = picture[:3, :4], picture[3:, 4:]
    np.testing.assert_array_equal(scan.image[:, :, :], expected.transpose(2, 1, 0))
    assert scan.notes == ("2 of 4 tiles (50.0 % of the pixels) are absent: filled with 0 0 0",)


@pytest.mark.parametrize(
    ("lab", "expected"),
    [
        (None, (255, 255, 255)),
        ([0xFFFF, 0x8080, 0x8080], (255, 255, 255)),
        # L* 53.24, a* 80.09, b* 67.20 under D65 is pure red; under D50 it is 54.29, 80.81, 69.89.
        ([35579, 53664, 50858], (255, 0, 0)),
    ],
)
def test_absent_tiles_have_the_recommended_colour(
    tmp_path: Path, lab: list[int] | None, expected: tuple[int, ...]
) -> None:
    made = sparse(tiles_of(_picture((4, 3)), _TILE), [(1, 1)], (8, 3), RecommendedAbsentPixelCIELabValue=lab)
    scan = _one(save(made, tmp_path / "a.dcm"))
    np.testing.assert_allclose(scan.image[:, 6:7, 1:2].ravel().astype(int), expected, atol=1)


def test_an_empty_frame_is_an_absent_tile(tmp_path: Path) -> None:
    tiles = [np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in tiles_of(_picture(), _TILE)]
    made = as_jpeg(slide(tiles, (80, 56)), [jpeg(one) for one in tiles])
    pieces = [
        b"\xfe\xff\x00\xe0" + len(one).to_bytes(4, "little") + one for one in (b"", *map(_even, map(jpeg, tiles)))
    ]
    pieces[5] = b"\xfe\xff\x00\xe0\0\0\0\0"  # the first item is the offset table, so this is the middle tile
    made.PixelData = b"".join(pieces)
    scan = _one(save(made, tmp_path / "a.dcm"))
    assert scan.notes == ("1 of 9 tiles hold no pixels: filled with 255 255 255",)
    assert (scan.image[:, 32:64, 24:48] == 255).all()
    assert not (scan.image[:, :32, :24] == 255).all()


def _even(data: bytes) -> bytes:
    return data + b"\0" * (len(data) % 2)


def test_focal_planes_and_optical_paths_are_pictures_of_their_own(tmp_path: Path) -> None:
    tiles = [np.full((3, 4), value, np.uint8) for value in range(8)]  # 2 tiles, 2 planes, 2 paths
    paths = [items(OpticalPathIdentifier=name)[0] for name in "ab"]
    made = slide(tiles, (8, 3), TotalPixelMatrixFocalPlanes=2, OpticalPathSequence=paths)
    scans = load_slides([save(made, tmp_path / "a.dcm")])
    level = "level 0, 0.5 um per pixel"
    assert [(scan.part, scan.image[0:1, 0:1, 0:1].item(), scan.image[0:1, 4:5, 0:1].item()) for scan in scans] == [
        (f"{level}, optical path 1 of 2, focal plane 1 of 2", 0, 1),
        (f"{level}, optical path 1 of 2, focal plane 2 of 2", 2, 3),
        (f"{level}, optical path 2 of 2, focal plane 1 of 2", 4, 5),
        (f"{level}, optical path 2 of 2, focal plane 2 of 2", 6, 7),
    ]


def test_sparse_frames_are_divided_by_their_optical_path(tmp_path: Path) -> None:
    tiles = [np.full((3, 4), value, np.uint8) for value in (5, 6)]
    made = sparse(tiles, [(1, 1), (1, 1)], (4, 3))
    for frame, name in zip(made.PerFrameFunctionalGroupsSequence, ("2", "1"), strict=True):
        frame.OpticalPathIdentificationSequence = items(OpticalPathIdentifier=name)
    scans = load_slides([save(made, tmp_path / "a.dcm")])
    assert [int(scan.image[0:1, 0:1, 0:1].item()) for scan in scans] == [6, 5]


def test_depth_divides_sparse_frames_only_where_tiles_lie_at_one_place(tmp_path: Path) -> None:
    tiles = [np.full((3, 4), value, np.uint8) for value in (1, 2, 3, 4)]
    for corners, expected in (
        ([(1, 1), (5, 1), (1, 4), (5, 4)], [[1, 2, 3, 4]]),  # the focus follows the tissue
        ([(1, 1), (5, 1), (1, 1), (5, 1)], [[1, 2], [3, 4]]),
    ):
        made = sparse(tiles, corners, (8, 3 * len({row for _, row in corners})))
        for n, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
            depth = 5.0 + (n // 2 if len(expected) == 2 else n / 10)
            frame.PlanePositionSlideSequence[0].ZOffsetInSlideCoordinateSystem = str(depth)
        scans = load_slides([save(made, tmp_path / "a.dcm")])
        assert [np.unique(scan.image[:, :, :]).tolist() for scan in scans] == expected


def test_the_parts_of_a_concatenation_make_one_level(tmp_path: Path) -> None:
    picture = _picture()
    paths = _concatenated(tmp_path, picture)
    scan = _one(*paths[::-1])
    np.testing.assert_array_equal(scan.image[:, :, :], picture.transpose(2, 1, 0))
    assert scan.files == tuple(str(path) for path in paths)


def test_a_missing_part_refuses_its_level_only(tmp_path: Path) -> None:
    paths = _concatenated(tmp_path, _picture())
    other = _level(tmp_path / "other.dcm", _picture((4, 3)))
    scan, refused = load_slides([paths[0], paths[2], other])
    assert isinstance(scan, LoadedScan)
    assert scan.files == (str(other),)
    assert isinstance(refused, RefusedFiles)
    assert refused.reason == "a concatenation of 3 parts has 2 of them: missing 2"
    assert refused.files == (str(paths[0]), str(paths[2]))


def test_a_copy_of_a_file_is_taken_once_and_a_different_one_refused(tmp_path: Path) -> None:
    picture = _picture()
    first = _level(tmp_path / "a.dcm", picture, SOPInstanceUID="1.2.9")
    second = tmp_path / "b.dcm"
    second.write_bytes(first.read_bytes())
    assert _one(first, second).copies == (str(second),)
    _level(second, 255 - picture, SOPInstanceUID="1.2.9")
    assert _refused(first, second).reason == "two files with one SOPInstanceUID differ"


def _concatenated(folder: Path, picture: np.ndarray) -> list[Path]:
    tiles, start, paths = tiles_of(picture, _TILE), 0, []
    for number, count in enumerate((4, 2, 3), 1):
        more = {
            "ConcatenationUID": "1.2.3.9",
            "InConcatenationNumber": number,
            "InConcatenationTotalNumber": 3,
            "ConcatenationFrameOffsetNumber": start,
        }
        made = slide(tiles[start : start + count], picture.shape[1::-1], **more)
        paths.append(save(made, folder / f"{number}.dcm"))
        start += count
    return paths


def test_label_images_are_not_taken_because_they_may_name_the_patient(tmp_path: Path) -> None:
    label = _level(tmp_path / "label.dcm", _picture(), ImageType=LABEL)
    overview = _level(tmp_path / "over.dcm", _picture(), ImageType=["ORIGINAL", "PRIMARY", "OVERVIEW", "NONE"])
    level = _level(tmp_path / "z.dcm", _picture())
    scan, *refused = load_slides([label, overview, level])
    assert isinstance(scan, LoadedScan)
    assert [(one.outcome, one.files) for one in refused if isinstance(one, RefusedFiles)] == [
        ("ignored", (str(label),)),
        ("ignored", (str(overview),)),
    ]
    assert all("may" in one.reason and "name the patient" in one.reason for one in refused)


@pytest.mark.parametrize("keyword", ["BurnedInAnnotation", "SpecimenLabelInImage"])
def test_a_level_that_says_it_shows_the_label_is_refused(tmp_path: Path, keyword: str) -> None:
    refused = _refused(_level(tmp_path / "a.dcm", _picture(), **{keyword: "YES"}))
    assert (refused.outcome, refused.reason.split(" is")[0]) == ("quarantined", keyword)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 0}, "Rows and Columns must be at least 1, got 0 and 4"),
        ({"TotalPixelMatrixRows": 0}, "must be at least 1, got 10 and 0"),
        ({"TotalPixelMatrixRows": 70}, "call for 72 frames, got 9"),
        ({"TotalPixelMatrixFocalPlanes": 2}, "call for 18 frames, got 9"),
        ({"NumberOfFrames": 10}, "the header calls for 360 bytes of pixels in 10 frames, 324 are there"),
        ({"NumberOfFrames": 0}, "NumberOfFrames must be 1"),
        ({"DimensionOrganizationType": None}, "no frame says its place"),
        ({"DimensionOrganizationType": "TILED_SPARSE"}, "PlanePositionSlideSequence is missing for frame 1"),
        ({"PixelData": None}, "ends before or inside its pixel data"),
        ({"ImageOrientationSlide": [1, 0, 0, 1, 0, 0]}, "unit vectors at right angles"),
    ],
)
def test_a_wrong_header_is_refused_with_its_numbers(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    origin = items(XOffsetInSlideCoordinateSystem="1", YOffsetInSlideCoordinateSystem="2")
    more = {"ImageOrientationSlide": [0, 1, 0, 1, 0, 0], "TotalPixelMatrixOriginSequence": origin}
    assert reason in _refused(_level(tmp_path / "a.dcm", _picture(), **{**more, **change})).reason


def test_a_sparse_tile_outside_of_the_matrix_is_refused(tmp_path: Path) -> None:
    made = sparse(tiles_of(_picture((4, 3)), _TILE), [(9, 1)], (8, 3))
    assert "column 9, row 1, outside" in _refused(save(made, tmp_path / "a.dcm")).reason


def test_a_header_that_claims_an_endless_sparse_slide_is_refused(tmp_path: Path) -> None:
    tiles = tiles_of(_picture((4, 3)), _TILE)
    for size in ((1 << 31, 1 << 31), (1 << 15, 1 << 14)):
        reason = _refused(save(sparse(tiles, [(1, 1)], size), tmp_path / "a.dcm")).reason
        assert "more than any slide has" in reason or "less than one in 1000 is there" in reason


def test_a_file_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = _level(tmp_path / "a.dcm", _picture())
    path.write_bytes(path.read_bytes()[:-50])
    assert "274 are there" in _refused(path).reason


def test_a_broken_tile_is_an_error_when_it_is_read(tmp_path: Path) -> None:
    tiles = [np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in tiles_of(_picture(), _TILE)]
    frames = [jpeg(one) for one in tiles]
    frames[4] = b"\xff\xd8" + bytes(200) + b"\xff\xd9"
    scan = _one(save(as_jpeg(slide(tiles, (80, 56)), frames), tmp_path / "a.dcm"))
    with pytest.raises(SourceError, match="frame 5 of 9: the compressed pixels have no frame header"):
        _ = scan.image[:, :, :]


def test_slides_of_two_patients_are_refused(tmp_path: Path) -> None:
    paths = [_level(tmp_path / f"{name}.dcm", _picture(), PatientID=name) for name in "ab"]
    with pytest.raises(SourceError, match="2 different patients"):
        load_slides(paths)


def test_monochrome1_is_inverted_and_a_palette_applied(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    dark = slide([grey], (4, 3), PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(_one(save(dark, tmp_path / "a.dcm")).image[0:1, :, :][0], 255 - grey.T)
    coloured = slide([grey], (4, 3), PhotometricInterpretation="PALETTE COLOR")
    for n, colour in enumerate(("Red", "Green", "Blue")):
        setattr(coloured, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, 8])
        table = (np.arange(256) + 10 * (n + 1)).astype(np.uint8)
        setattr(coloured, f"{colour}PaletteColorLookupTableData", table.tobytes())
    scan = _one(save(coloured, tmp_path / "b.dcm"))
    np.testing.assert_array_equal(scan.image[:, :, :], np.stack([grey.T + 10, grey.T + 20, grey.T + 30]))


def test_slide_coordinates_are_mapped_through_a_turned_and_flipped_picture() -> None:
    grid = Grid((10, 7), np.diag([0.0005, 0.002, 1.0]))
    # Rows run along (-0.6, 0.8), columns along (-0.8, -0.6): turned by 127 degrees, handedness kept.
    attributes = {"slide_origin_mm": "20 40", "slide_orientation": "-0.6 0.8 0 -0.8 -0.6 0"}
    place = np.array([[20.0, 40.0, 0.3], [20 - 0.6 * 0.0015 - 0.8 * 0.008, 40 + 0.8 * 0.0015 - 0.6 * 0.008, 0.0]])
    np.testing.assert_allclose(slide_to_index(place, grid, attributes), [[0, 0], [3, 4]], atol=1e-9)
    with pytest.raises(GeometryError, match="no place on the slide"):
        slide_to_index(place, Grid.of_pixels((10, 7)), attributes)


def _public(name: str) -> Path:
    path = _DATA / "highdicom" / "data" / "test_files" / name
    if not path.exists():
        pytest.skip(f"{path} is not there (CELLSCAN_DATA)")
    return path


@pytest.mark.parametrize(
    "name",
    ["sm_image", "sm_image_grayscale", "sm_image_grayscale_reversed", "sm_image_jpegls", "sm_image_jpegls_nobot"],
)
def test_public_slides_equal_frames_put_together_one_by_one(name: str) -> None:
    path = _public(f"{name}.dcm")
    frames = pydicom.dcmread(path).pixel_array
    whole = np.zeros((50, 50, *frames.shape[3:]), frames.dtype)
    for number, frame in enumerate(frames):
        row, column = 10 * (number // 5), 10 * (number % 5)
        whole[row : row + 10, column : column + 10] = frame
    scan = _one(path)
    expected = whole[None] if whole.ndim == 2 else whole.transpose(2, 0, 1)
    np.testing.assert_array_equal(scan.image[:, :, :], expected.transpose(0, 2, 1))
    np.testing.assert_allclose(scan.grid.spacing, 0.000499)


def test_highdicom_maps_the_same_slide_coordinates() -> None:
    spatial = pytest.importorskip("highdicom.spatial")
    path = _public("sm_image.dcm")
    scan, dataset = _one(path), pydicom.dcmread(path)
    there = spatial.PixelToReferenceTransformer.for_image(dataset, for_total_pixel_matrix=True)
    indices = np.array([[0, 0], [7, 31], [49, 3]])
    points = there(indices)
    np.testing.assert_allclose(slide_to_index(points, scan.grid, scan.attributes), indices, atol=1e-4)


def test_a_public_label_image_is_not_taken() -> None:
    path = _DATA / "ez_wsi" / "test_wsi.dcm"
    if not path.exists():
        pytest.skip(f"{path} is not there (CELLSCAN_DATA)")
    assert "slide's label" in _refused(path).reason
