"""How the bytes after the file meta group are to be read (PS3.5 chapter 10 and annex A)."""

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# Without compression: pixels lie in the file as they are.
NATIVE_LITTLE_ENDIAN = frozenset((IMPLICIT_LITTLE_ENDIAN, "1.2.840.10008.1.2.1"))
# Explicit little-endian elements, whatever becomes of the pixels. Not here: big-endian, deflated (also JPIP's two).
EXPLICIT_LITTLE_ENDIAN = frozenset(
    f"1.2.840.10008.1.2.{leaf}"
    for leaf in (
        "1",
        "1.98",  # encapsulated uncompressed
        *("4.50", "4.51", "4.57", "4.70"),  # JPEG
        *("4.80", "4.81"),  # JPEG-LS
        *("4.90", "4.91", "4.92", "4.93"),  # JPEG 2000
        *("4.201", "4.202", "4.203"),  # High-throughput JPEG 2000
        *("4.100", "4.101", "4.102", "4.103", "4.104", "4.105", "4.106", "4.107", "4.108"),  # MPEG, HEVC
        "5",  # RLE
    )
)
