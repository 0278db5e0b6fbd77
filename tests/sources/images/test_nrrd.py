import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.images.nrrd import is_segmentation, load_nrrd, read_nrrd
from tests.sources.written import oblique_voxels

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom" / "dcmqi"
PUBLIC = sorted(DATA.rglob("*.nrrd"))

# Oblique and flipped by 3-4-5 triangles: i along (0.8, 0.6, 0) x 0.5, j (0, 0, -1) x 2, k (-0.6, 0.8, 0) x 4.
DIRECTIONS = "(0.4,0.3,0) (0,0,-2) (-2.4,3.2,0)"
FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "12 8 6",
    "space directions": DIRECTIONS,
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(10,-20,30)",
}
# LPS → RAS: x and y change sign.
AFFINE = np.array([[-0.4, 0, 2.4, -10], [-0.3, 0, -3.2, 20], [0, -2, 0, 30], [0, 0, 0, 1.0]])


def _bytes(fields, data=b""):
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None)
    return f"NRRD0004\n# a comment\n{lines}\n".encode() + data


def _write(path, voxels, pairs="", **fields):
    """``voxels`` in the order of the file's axes; names of fields with ``_`` for a space."""
    stated = {name.replace("_", " "): value for name, value in fields.items()}
    head = _bytes({**FIELDS, **stated})[:-1] + pairs.encode() + b"\n"
    path.write_bytes(head + voxels.tobytes(order="F"))
    return path


def test_oblique_flipped_volume_keeps_voxels_and_place(tmp_path):
    voxels = oblique_voxels()
    (scan,) = load_nrrd([_write(tmp_path / "a.nrrd", voxels)])
    np.testing.assert_array_equal(scan.image[0], voxels)
    np.testing.assert_allclose(scan.grid.affine, AFFINE)
    assert (scan.grid.unit, scan.part, scan.attributes) == ("mm", "", {"format": "nrrd"})


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("LAS", (-1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
        ("LPS", (-1, -1, 1)),
    ],
)
def test_every_frame_of_the_patient_is_turned_to_ras(tmp_path, space, signs):
    (scan,) = load_nrrd([_write(tmp_path / "a.nrrd", oblique_voxels(), space=space)])
    lps = np.diag([-1, -1, 1, 1]) @ AFFINE
    np.testing.assert_allclose(scan.grid.affine, np.diag([*signs, 1]) @ lps)


@pytest.mark.parametrize("unit", ["um", "µm", "cm", "m"])
def test_units_of_the_space_become_millimetres(tmp_path, unit):
    scale = {"um": 1e-3, "µm": 1e-3, "cm": 10.0, "m": 1000.0}[unit]
    path = _write(tmp_path / "a.nrrd", oblique_voxels(), space_units=f'"{unit}" "{unit}" "{unit}"')
    np.testing.assert_allclose(load_nrrd([path])[0].grid.affine[:3], scale * AFFINE[:3])


@pytest.mark.parametrize("encoding", ["gzip", "gz", "bzip2", "ascii", "hex"])
def test_every_encoding_gives_the_voxels(tmp_path, encoding):
    import bz2

    voxels = oblique_voxels()
    raw = voxels.tobytes(order="F")
    packed = {
        "gzip": gzip.compress(raw),
        "gz": gzip.compress(raw),
        "bzip2": bz2.compress(raw),
        "ascii": " ".join(str(n) for n in voxels.ravel(order="F")).encode(),
        "hex": raw.hex().encode(),
    }[encoding]
    path = tmp_path / "a.nrrd"
    path.write_bytes(_bytes({**FIELDS, "encoding": encoding}, packed))
    np.testing.assert_array_equal(load_nrrd([path])[0].image[0], voxels)


def test_big_endian_and_skips_are_honoured(tmp_path):
    voxels = oblique_voxels()
    raw = voxels.astype(">i2").tobytes(order="F")
    path = tmp_path / "a.nrrd"
    path.write_bytes(_bytes({**FIELDS, "endian": "big", "line skip": "1", "byte skip": "3"}, b"a line\nxyz" + raw))
    (scan,) = load_nrrd([path])
    np.testing.assert_array_equal(scan.image[0], voxels)
    assert scan.image.dtype.isnative
    path.write_bytes(_bytes({**FIELDS, "endian": "big", "byte skip": "-1"}, b"anything" + raw))
    np.testing.assert_array_equal(load_nrrd([path])[0].image[0], voxels)


@pytest.mark.parametrize("kind", ["list", "time"])
@pytest.mark.parametrize("first", [True, False])
def test_list_or_time_axis_gives_one_scan_an_entry(tmp_path, kind, first):
    voxels = np.stack([oblique_voxels(seed=n) for n in range(3)], axis=0 if first else -1)
    fields = {
        "sizes": "3 12 8 6" if first else "12 8 6 3",
        "kinds": f"{kind} domain domain domain" if first else f"domain domain domain {kind}",
        "space_directions": f"none {DIRECTIONS}" if first else f"{DIRECTIONS} none",
    }
    scans = load_nrrd([_write(tmp_path / "a.nrrd", voxels, dimension="4", **fields)])
    assert [scan.part for scan in scans] == ["volume 1 of 3", "volume 2 of 3", "volume 3 of 3"]
    for number, scan in enumerate(scans):
        np.testing.assert_array_equal(scan.image[0], oblique_voxels(seed=number))
        np.testing.assert_allclose(scan.grid.affine, AFFINE)


def test_vector_and_colour_axes_are_channels(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (3, 4, 3, 2)).astype(np.uint8)
    fields = {"dimension": "4", "type": "uchar", "sizes": "3 4 3 2", "space_directions": f"none {DIRECTIONS}"}
    for kind in ("RGB-color", "vector", "3-vector"):
        path = _write(tmp_path / "a.nrrd", colours, kinds=f"{kind} domain domain domain", **fields)
        np.testing.assert_array_equal(load_nrrd([path])[0].image, colours)


def test_detached_data_files_are_read_beside_the_header_and_nowhere_else(tmp_path):
    voxels = oblique_voxels()
    for number in range(6):
        (tmp_path / f"s{number:02d}.raw").write_bytes(voxels[:, :, number].tobytes(order="F"))
    (tmp_path / "whole.raw").write_bytes(voxels.tobytes(order="F"))
    header = tmp_path / "a.nhdr"
    for named in (
        "s%02d.raw 0 5 1",
        "s%02d.raw 0 5 1 2",
        "LIST\n" + "\n".join(f"s0{n}.raw" for n in range(6)),
        "whole.raw",
    ):
        header.write_bytes(_bytes({**FIELDS, "data file": named}))
        array, grid, _ = read_nrrd(header)
        np.testing.assert_array_equal(array[0], voxels)
        np.testing.assert_allclose(grid.affine, AFFINE)
    for named in ("../a.raw", "/etc/passwd", "C:\\x.raw"):
        header.write_bytes(_bytes({**FIELDS, "data file": named}))
        with pytest.raises(SourceError, match="outside of its own folder"):
            read_nrrd(header)
    header.write_bytes(_bytes({**FIELDS, "data file": "gone.raw"}))
    with pytest.raises(SourceError, match="is not there"):
        read_nrrd(header)


def test_flat_picture_lies_in_mm_where_it_says_so_and_else_in_pixels(tmp_path):
    flat = np.arange(12, dtype=np.int16).reshape(4, 3)
    fields = {"dimension": "2", "sizes": "4 3", "space": None, "space_directions": None, "space_origin": None}
    fields["kinds"] = "domain domain"
    (plain,) = load_nrrd([_write(tmp_path / "a.nrrd", flat, **fields, spacings="0.5 0.25")])
    assert (plain.grid.unit, plain.image.shape) == ("px", (1, 4, 3))
    (sized,) = load_nrrd([_write(tmp_path / "b.nrrd", flat, **fields, spacings="500 250", units='"um" "um"')])
    np.testing.assert_allclose(sized.grid.spacing, [0.5, 0.25])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"space": "scanner-xyz"}, "must be the patient's .* 'scanner-xyz'"),
        ({"space": None, "space_dimension": "3"}, "got 'none'"),
        ({"space_directions": None, "spacings": "1 1 1"}, "states spacings and no space directions"),
        ({"space_origin": None}, "no space origin"),
        ({"space_origin": "(1,2)"}, "3 numbers each"),
        ({"space_directions": "(1,0,0) (0,1,0) (0,0,0)"}, "finite and independent"),
        ({"space_directions": "(1,0,0) (0,1,0) (nan,0,1)"}, "finite and independent"),
        ({"space_directions": "(1,0,0) (0.5,1,0) (0,0,1)"}, "sheared or tilted"),
        ({"space_units": '"mm" "mm" "s"'}, "space units must be lengths"),
    ],
)
def test_place_that_is_not_known_is_refused(tmp_path, fields, message):
    with pytest.raises(GeometryError, match=message):
        load_nrrd([_write(tmp_path / "a.nrrd", oblique_voxels(), **fields)])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": "32767 32767 32767"}, "needs 65530.0 GiB, more than 4 GiB"),
        ({"sizes": "12 8"}, "must be 3 numbers"),
        ({"sizes": "12 8 0"}, "at least 1"),
        ({"sizes": "12 8 7"}, "cut: sizes .* need 1344 bytes, 1152"),
        ({"type": "block"}, "type must be an integer or real number"),
        ({"endian": None}, "endian must be little or big"),
        ({"encoding": "zrl"}, "encoding must be"),
        ({"encoding": "gzip"}, "damaged or cut"),
        ({"encoding": None}, "has no encoding"),
        ({"kinds": "domain domain"}, "an entry for each of 3 axes"),
        ({"space_directions": "(1,0,0) (0,1,0) none", "kinds": "domain domain complex"}, "kind 'complex'"),
        ({"byte_skip": "x"}, "byte skip must be a whole number"),
    ],
)
def test_contradicting_header_is_refused(tmp_path, fields, message):
    with pytest.raises(SourceError, match=message):
        load_nrrd([_write(tmp_path / "a.nrrd", oblique_voxels(), **fields)])


def test_gzip_of_more_than_the_sizes_say_is_refused(tmp_path):
    path = tmp_path / "a.nrrd"
    path.write_bytes(_bytes({**FIELDS, "encoding": "gzip"}, gzip.compress(b"\0" * (12 * 8 * 6 * 2 + 1))))
    with pytest.raises(SourceError, match="longer than its sizes"):
        load_nrrd([path])


def test_segmentation_is_told_from_a_scan_and_keeps_its_layers(tmp_path):
    layers = np.stack([oblique_voxels(seed=n) for n in range(2)], axis=0)
    path = _write(
        tmp_path / "a.seg.nrrd",
        layers,
        pairs="Segment0_ID:=Segment_1\nSegment0_Name:=lesion: left\n",
        dimension="4",
        sizes="2 12 8 6",
        kinds="list domain domain domain",
        space_directions=f"none {DIRECTIONS}",
    )
    array, grid, fields = read_nrrd(path)
    assert array.shape == (2, 12, 8, 6)
    assert grid.shape == (12, 8, 6)
    assert fields["Segment0_Name"] == "lesion: left"
    assert is_segmentation(fields)
    with pytest.raises(SourceError, match="annotates a scan"):
        load_nrrd([path])


@pytest.mark.skipif(not PUBLIC, reason="the data folder has no dicom/dcmqi")
def test_public_files_are_as_simpleitk_reads_them():
    sitk = pytest.importorskip("SimpleITK")
    for path in PUBLIC:
        array, grid, _ = read_nrrd(path)
        peer = sitk.ReadImage(str(path))
        lps = np.eye(4)
        lps[:3, :3] = np.array(peer.GetDirection()).reshape(3, 3) * peer.GetSpacing()
        lps[:3, 3] = peer.GetOrigin()
        np.testing.assert_allclose(grid.affine, np.diag([-1, -1, 1, 1]) @ lps, atol=1e-9)
        np.testing.assert_array_equal(array[0], sitk.GetArrayViewFromImage(peer).T)
