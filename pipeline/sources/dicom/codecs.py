"""A decoder for JPEG with 12 bits a sample (PS3.5 A.4.2, process 4), for pydicom.

pydicom leaves it to a library under the GPL and refuses GDCM, whose releases before 3.2 got it wrong. GDCM 3.2.6 gives
what DCMTK and libjpeg-turbo give, bit by bit, on every file at hand. The names are those that pydicom asks of a plugin:
https://pydicom.github.io/pydicom/stable/guides/decoding/decoder_plugins.html
"""

from functools import cache
from typing import Any

from pydicom.pixels.decoders import JPEGExtended12BitDecoder
from pydicom.uid import UID, JPEGExtended12Bit

DECODER_DEPENDENCIES = {JPEGExtended12Bit: ("gdcm>=3.2.6",)}
TWELVE_BIT_JPEG = "cellscan"
_OLDEST_GDCM = (3, 2, 6)


def is_available(uid: UID) -> bool:
    try:
        import gdcm
    except ImportError:
        return False
    version = tuple(int(part) for part in gdcm.Version.GetVersion().split("."))
    return uid == JPEGExtended12Bit and version >= _OLDEST_GDCM


@cache
def add_twelve_bit_jpeg() -> None:
    """Make pydicom use the decoder below for JPEG Extended; once is enough."""
    JPEGExtended12BitDecoder.add_plugin(TWELVE_BIT_JPEG, (__name__, "decode_frame"))


def decode_frame(source: bytes, runner: Any) -> bytes:
    """One frame's JPEG stream as little-endian samples, 16 bits each.

    Raises:
        NotImplementedError: samples of 8 bits, which pydicom's own plugins decode, or colour.
    """
    import gdcm

    if not 8 < runner.bits_stored <= 12 or runner.bits_allocated != 16 or runner.samples_per_pixel != 1:
        raise NotImplementedError("only grey samples of 9 to 12 bits are decoded here")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, runner.pixel_representation))
    return image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM gives bytes as text
