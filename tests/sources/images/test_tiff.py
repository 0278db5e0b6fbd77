import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.errors import GeometryError, SourceError
from pipeline.sources.images import tiff
from pipeline.sources.images.tiff import load_tiff, read_tiff

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "nuclei3d_stardist" / "stardist" / "data"
COLOUR = (np.arange(6 * 9 * 3) * 5 % 251).reshape(6, 9, 3).astype(np.uint8)
STACK = np.random.default_rng(0).integers(0, 65535, (5, 3, 70, 45)).astype(np.uint16)  # Z, C, Y, X
APERIO = "Aperio Image Library v10\n768x512 (128x128)|AppMag = 20|MPP = 0.4990"


def _write(path, values, **options):
    tifffile.imwrite(path, values, **options)
    return path


def _one(path):
    (scan,) = load_tiff([path])
    return scan, np.asarray(scan.image[...])


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_picture_is_transposed_to_columns_first(tmp_path, compression):
    Image.fromarray(COLOUR).save(tmp_path / "a.tif", compression=compression)
    scan, values = _one(tmp_path / "a.tif")
    np.testing.assert_array_equal(values, COLOUR.transpose(2, 1, 0))
    assert (scan.grid.unit, scan.grid.shape) == ("px", (9, 6))


@pytest.mark.parametrize(
    ("compression", "tile", "axes"),
    list(itertools.product([None, "zlib", "lzw", "zstd"], [None, (32, 16)], ["ZCYX", "CZYX", "ZYXS", "ZSYX"])),
)
def test_any_layout_on_disk_gives_the_same_voxels(tmp_path, compression, tile, axes):
    moved = np.ascontiguousarray(STACK.transpose(["ZCYX".index(axis.replace("S", "C")) for axis in axes]))
    more = {"photometric": "minisblack"}
    if "S" in axes:
        more = {"photometric": "rgb", "planarconfig": "separate" if axes == "ZSYX" else "contig"}
    strips = None if tile else 16
    path = tmp_path / "a.ome.tif"
    _write(path, moved, metadata={"axes": axes}, compression=compression, tile=tile, rowsperstrip=strips, **more)
    scan, values = _one(path)
    want = STACK.transpose(1, 3, 2, 0)
    np.testing.assert_array_equal(values, want)
    np.testing.assert_array_equal(scan.image[1:3, 5:20, 33:60, 2:4], want[1:3, 5:20, 33:60, 2:4])
    np.testing.assert_array_equal(scan.image[0], want[0])


def test_physical_size_of_ome_counts_in_any_unit(tmp_path):
    size = {
        "axes": "ZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeY": 250.0,
        "PhysicalSizeYUnit": "nm",
        "PhysicalSizeZ": 2.0,
    }
    scan, _ = _one(_write(tmp_path / "a.ome.tif", STACK[:, 0], metadata=size, photometric="minisblack"))
    assert scan.grid.unit == "mm"
    np.testing.assert_allclose(scan.grid.spacing, [0.0005, 0.00025, 0.002])
    assert scan.notes == ("a stack without a patient's frame: axes are the image's own",)


def test_stack_without_a_step_between_slices_lies_in_voxels(tmp_path):
    size = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    scan, _ = _one(_write(tmp_path / "a.ome.tif", STACK[:, 0], metadata=size, photometric="minisblack"))
    assert (scan.grid.unit, scan.grid.spacing.tolist()) == ("px", [1.0, 1.0, 1.0])
    assert "along 2 of 3 axes only" in scan.notes[0]


def test_imagej_states_microns_and_the_step_between_slices(tmp_path):
    metadata = {"axes": "ZCYX", "unit": "um", "spacing": 2.0}
    scan, values = _one(_write(tmp_path / "a.tif", STACK, imagej=True, resolution=(4, 2), metadata=metadata))
    np.testing.assert_allclose(scan.grid.spacing, [0.00025, 0.0005, 0.002])
    np.testing.assert_array_equal(values, STACK.transpose(1, 3, 2, 0))


@pytest.mark.parametrize("flavour", [{"imagej": True}, {"photometric": "minisblack"}])
def test_stack_of_which_only_the_first_page_has_a_directory_is_whole_or_refused(tmp_path, flavour):
    path = _write(tmp_path / "a.tif", STACK[:, 0], truncate=True, metadata={"axes": "ZYX"}, **flavour)
    _, values = _one(path)
    np.testing.assert_array_equal(values[0], STACK[:, 0].transpose(2, 1, 0))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SourceError, match="cut"):
        load_tiff([path])


def test_resolution_in_centimetres_counts_and_print_size_does_not(tmp_path):
    scan, _ = _one(_write(tmp_path / "a.tif", COLOUR, resolution=(20000, 10000), resolutionunit="CENTIMETER"))
    np.testing.assert_allclose(scan.grid.spacing, [0.0005, 0.001])
    scan, _ = _one(_write(tmp_path / "b.tif", COLOUR, resolution=(300, 300), resolutionunit="INCH"))
    assert scan.grid.unit == "px"


def test_pixel_size_of_zero_is_refused(tmp_path):
    path = _write(
        tmp_path / "a.ome.tif", COLOUR[:, :, 0], metadata={"axes": "YX", "PhysicalSizeX": 0, "PhysicalSizeY": 1}
    )
    with pytest.raises(GeometryError, match="above 0, got 0"):
        load_tiff([path])


def test_times_are_scans_and_channels_keep_their_names(tmp_path):
    metadata = {
        "axes": "TCYX",
        "TimeIncrement": 500,
        "TimeIncrementUnit": "ms",
        "Channel": {"Name": ["DAPI", "F", "G"]},
    }
    path = _write(tmp_path / "a.ome.tif", STACK, metadata=metadata, photometric="minisblack")
    scans = load_tiff([path])
    assert [scan.part for scan in scans] == [f"time {n} of 5" for n in range(1, 6)]
    assert [scan.attributes["time_s"] for scan in scans] == ["0", "0.5", "1", "1.5", "2"]
    assert scans[0].attributes["channel_names"] == "DAPI, F, G"
    np.testing.assert_array_equal(scans[3].image[...], STACK[3].transpose(0, 2, 1))


def test_several_images_are_scans_of_their_own(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as writer:
        for step, values in ((0.5, COLOUR[:, :, 0]), (0.25, COLOUR[:4, :5, 1])):
            writer.write(values, metadata={"axes": "YX", "PhysicalSizeX": step, "PhysicalSizeY": step})
    scans = load_tiff([tmp_path / "a.ome.tif"])
    assert [(scan.part, scan.grid.shape) for scan in scans] == [("image 1 of 2", (9, 6)), ("image 2 of 2", (5, 4))]
    assert [scan.grid.spacing[0] for scan in scans] == pytest.approx([0.0005, 0.00025])


def test_pages_without_a_name_are_slices_from_five_on(tmp_path):
    scan, values = _one(_write(tmp_path / "a.tif", STACK[:, 0], photometric="minisblack"))
    np.testing.assert_array_equal(values[0], STACK[:, 0].transpose(2, 1, 0))
    assert scan.grid.unit == "px"
    assert "taken as slices" in scan.notes[1]
    with pytest.raises(SourceError, match="4 pages and does not say"):
        load_tiff([_write(tmp_path / "b.tif", STACK[:4, 0], photometric="minisblack")])


def _slide(path):
    picture = np.random.default_rng(1).integers(0, 255, (512, 768, 3)).astype(np.uint8)
    tiles = {"tile": (128, 128), "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path) as writer:
        writer.write(picture, description=APERIO, **tiles)
        writer.write(picture[::4, ::4], description="Aperio Image Library v10\n thumbnail", metadata=None)
        writer.write(picture[::2, ::2], description=APERIO, **tiles)
        writer.write(picture[::8, ::8], description="Aperio Image Library v10\nlabel 1x1", subfiletype=1, metadata=None)
        writer.write(picture[::7, ::7], description="Aperio Image Library v10\nmacro 1x1", subfiletype=9, metadata=None)
    return path


def test_slide_is_its_full_resolution_without_label_and_macro(tmp_path):
    path = _slide(tmp_path / "a.svs")
    scan, values = _one(path)
    np.testing.assert_array_equal(values, tifffile.imread(path, series=0, level=0).transpose(2, 1, 0))
    np.testing.assert_array_equal(scan.image[:, 100:300, 120:140], values[:, 100:300, 120:140])
    np.testing.assert_allclose(scan.grid.spacing, [0.000499, 0.000499])
    assert scan.notes == (
        "3 label, macro or thumbnail image(s) are left out",
        "1 smaller level(s) of the pyramid are left out",
    )


def test_only_the_tiles_of_a_region_are_decoded(tmp_path, monkeypatch):
    (scan,) = load_tiff([_slide(tmp_path / "a.svs")])
    pages = scan.image.source.pages
    decoded = []
    decode = pages._decode
    monkeypatch.setattr(pages, "_decode", lambda page, index: decoded.append(index) or decode(page, index))
    scan.image[:, 130:250, 0:200]
    scan.image[:, 130:250, 0:200]
    assert decoded == [1, 7]  # six tiles across: the second column of the first two rows


def test_tile_that_is_not_stored_is_zero_and_told(tmp_path):
    path = _write(tmp_path / "a.tif", np.full((32, 32), 7, np.uint8), tile=(16, 16))
    with tifffile.TiffFile(path, mode="r+") as opened:
        counts = opened.pages[0].tags["TileByteCounts"]
        counts.overwrite([256, 0, 256, 256])
    scan, values = _one(path)
    assert values[0, 16:, :16].max() == 0
    assert values.sum() == 3 * 256 * 7
    assert scan.notes == ("1 tile(s) are not stored and read as 0",)


def test_palette_is_looked_up_in_a_picture_and_kept_in_a_label_map(tmp_path):
    indices = np.array([[0, 1], [2, 3]], np.uint8)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 1], colours[:, 2], colours[:, 3] = (65535, 0, 0), (0, 65535, 0), (256, 512, 768)
    path = _write(tmp_path / "a.tif", indices, photometric="palette", colormap=colours)
    _, values = _one(path)
    assert values[:, 1, 1].tolist() == [1, 2, 3]
    assert values[:, 1, 0].tolist() == [255, 0, 0]
    assert read_tiff(path).tolist() == [indices.T.tolist()]


def test_white_as_zero_is_turned_around(tmp_path):
    _, values = _one(_write(tmp_path / "a.tif", np.array([[0, 255], [10, 20]], np.uint8), photometric="miniswhite"))
    assert values.tolist() == [[[255, 245], [0, 235]]]


def test_opaque_alpha_is_dropped_and_transparency_refused(tmp_path):
    alpha = np.dstack([COLOUR, np.full((6, 9), 255, np.uint8)])
    _, values = _one(_write(tmp_path / "a.tif", alpha, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(values, COLOUR.transpose(2, 1, 0))
    alpha[2, 2, 3] = 10
    with pytest.raises(SourceError, match="transparent"):
        _one(_write(tmp_path / "b.tif", alpha, photometric="rgb", extrasamples=["unassalpha"]))


def test_pixels_that_are_not_numbers_are_refused_with_their_count(tmp_path):
    pixels = np.zeros((8, 8), np.float32)
    pixels[2, 3:5] = np.nan
    with pytest.raises(SourceError, match="2 of 64 pixels are not finite"):
        _one(_write(tmp_path / "a.tif", pixels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extratags": [(274, "H", 1, 6, True)]}, "TIFF orientation 6"),
        ({"photometric": "cielab"}, "photometric interpretation 8"),
        ({"photometric": "separated"}, "photometric interpretation 5"),
    ],
)
def test_pixels_whose_meaning_is_not_read_are_refused(tmp_path, options, message):
    values = np.dstack([COLOUR, COLOUR[:, :, :1]]) if options.get("photometric") == "separated" else COLOUR
    with pytest.raises(SourceError, match=message):
        load_tiff([_write(tmp_path / "a.tif", values, **{"photometric": "rgb", **options})])


def test_cut_and_broken_files_are_refused(tmp_path):
    path = _write(tmp_path / "a.tif", COLOUR)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SourceError, match="cut: pixels lie behind its end"):
        load_tiff([path])
    pages = [Image.fromarray(COLOUR)] * 7
    pages[0].save(path, save_all=True, append_images=pages[1:])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SourceError, match="cut: p"):
        load_tiff([path])
    path.write_bytes(b"II*\0")
    with pytest.raises(SourceError, match="not a readable TIFF"):
        load_tiff([path])
    packed = _write(tmp_path / "b.tif", STACK[:, 0], photometric="minisblack", compression="zlib")
    data = bytearray(packed.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    packed.write_bytes(bytes(data))
    with pytest.raises(SourceError, match="cannot be decoded"):
        _one(packed)


def test_image_far_larger_than_its_file_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff, "_RATIO_FROM_BYTES", 1 << 20)
    path = _write(tmp_path / "a.tif", np.zeros((4096, 4096), np.uint8), tile=(1024, 1024), compression="zstd")
    with pytest.raises(SourceError, match="times as large as its file"):
        load_tiff([path])


def test_part_of_an_image_in_another_file_is_refused_and_that_file_not_opened(tmp_path):
    path = _write(tmp_path / "a.ome.tif", STACK[:, 0], metadata={"axes": "ZYX"}, photometric="minisblack")
    data = path.read_bytes()
    assert b'SizeZ="5"' in data
    path.write_bytes(data.replace(b'SizeZ="5"', b'SizeZ="7"'))
    with pytest.raises(SourceError, match="other files"):
        load_tiff([path])


def test_entities_in_ome_xml_are_refused(tmp_path):
    text = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><OME xmlns="x"><Image><Pixels/></Image></OME>'
    path = _write(tmp_path / "a.ome.tif", COLOUR, description=text, metadata=None)
    with pytest.raises(SourceError, match="defines entities"):
        load_tiff([path])


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder has no nuclei3d_stardist")
def test_public_stack_of_nuclei_and_its_labels_are_on_one_grid():
    scan, values = _one(DATA / "images" / "img3d.tif")
    labels = read_tiff(DATA / "images" / "mask3d.tif")
    assert scan.grid.shape == (57, 61, 31)
    assert labels.shape == values.shape
    assert len(np.unique(labels)) == 52  # 51 nuclei and the background
