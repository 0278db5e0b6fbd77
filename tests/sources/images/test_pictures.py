import imagecodecs
import numpy as np
import pytest
from PIL import Image

from pipeline.errors import SourceError
from pipeline.sources.images.pictures import load_picture, read_pixels
from tests.sources.written import write_png

COLOUR = (np.arange(6 * 9 * 3) * 5 % 251).reshape(6, 9, 3).astype(np.uint8)


def test_png_of_colour_grey_and_16_bit_keep_their_values(archive):
    assert (
        load_picture([write_png(archive / "rgb.png", COLOUR)])[0].image.tolist() == COLOUR.transpose(2, 1, 0).tolist()
    )
    deep = np.array([[0, 65535], [300, 1]], dtype=np.uint16)
    scan = load_picture([write_png(archive / "deep.png", deep)])[0]
    assert scan.image.tolist() == [deep.T.tolist()]
    assert scan.grid.unit == "px"


def test_opaque_alpha_is_dropped_and_transparency_refused(archive):
    alpha = np.dstack([COLOUR, np.full((6, 9), 255, dtype=np.uint8)])
    assert load_picture([write_png(archive / "a.png", alpha)])[0].image.shape == (3, 9, 6)
    alpha[2, 2, 3] = 10
    with pytest.raises(SourceError, match="transparent"):
        load_picture([write_png(archive / "b.png", alpha)])[0]


def test_damaged_file_and_several_frames_are_refused(archive):
    path = write_png(archive / "b.png", COLOUR)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SourceError, match="damaged or cut"):
        load_picture([path])
    Image.fromarray(COLOUR).save(archive / "c.png", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])])
    with pytest.raises(SourceError, match="got 2 frames"):
        load_picture([archive / "c.png"])


def test_colour_of_16_bits_keeps_its_values(archive):
    deep = np.arange(6 * 5 * 3, dtype=np.uint16).reshape(6, 5, 3) * 700
    (archive / "a.png").write_bytes(imagecodecs.png_encode(deep))
    (scan,) = load_picture([archive / "a.png"])
    assert scan.image.dtype == np.uint16
    np.testing.assert_array_equal(scan.image, deep.transpose(2, 1, 0))


def test_palette_is_looked_up_in_a_picture_and_kept_in_a_label_map(archive):
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([0, 0, 0, 250, 0, 0, 0, 240, 5])
    picture.save(archive / "a.png")
    assert load_picture([archive / "a.png"])[0].image[:, 0, 1].tolist() == [0, 240, 5]
    assert read_pixels(archive / "a.png", indices=True)[:, :, 0].tolist() == indices.tolist()


def test_picture_turned_by_exif_is_refused(archive):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOUR).save(archive / "a.jpg", exif=exif)
    with pytest.raises(SourceError, match="EXIF orientation 6"):
        load_picture([archive / "a.jpg"])[0]
