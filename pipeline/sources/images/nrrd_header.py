"""The text header of NRRD files, read strictly and within bounds.

Fields and their meaning: the NRRD format definition, https://teem.sourceforge.net/nrrd/format.html (NRRD0001 to 0005).
"""

import re
from dataclasses import dataclass, field
from math import prod
from pathlib import PurePosixPath
from typing import BinaryIO

import numpy as np

from pipeline.errors import GeometryError, SourceError

MAGIC = b"NRRD000"
_HEADER_BYTES = 8 << 20  # headers of segmentations hold a few lines a segment
_MOST_AXES = 16
_MOST_FILES = 10_000
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
    "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
_ALIASES = {
    "datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "axismins": "axis mins",
    "oldmin": "old min", "oldmax": "old max", "centers": "centerings", "samplingunits": "sample units",
}  # fmt: skip
_PATTERN = re.compile(r"%0?\d{0,3}[du]")


@dataclass(frozen=True)
class NrrdHeader:
    """``fields`` by lower-case name, ``pairs`` the key/value pairs; ``start`` is where attached data begin.

    ``sizes`` runs from the fastest axis to the slowest. ``data_files`` are names as written, empty if attached.
    """

    fields: dict[str, str]
    pairs: dict[str, str] = field(repr=False)
    sizes: tuple[int, ...]
    dtype: np.dtype
    encoding: str
    data_files: tuple[str, ...]
    start: int

    @property
    def nbytes(self) -> int:
        return prod(self.sizes) * self.dtype.itemsize

    def words(self, name: str) -> list[str]:
        """The entries of a field that has one an axis, as lower-case words; vectors stay together."""
        text = self.fields.get(name, "")
        return [word.strip('"').lower() for word in re.findall(r'\([^)]*\)|"[^"]*"|\S+', text)]

    def whole(self, name: str) -> int:
        try:
            return int(self.fields.get(name, "0"))
        except ValueError as error:
            raise SourceError(f"NRRD's {name} must be a whole number, got {self.fields[name][:40]!r}") from error


def read_nrrd_header(stream: BinaryIO) -> NrrdHeader:
    """The header at the start of ``stream``.

    Raises:
        SourceError: no NRRD header, or one that contradicts itself or is not supported.
    """
    if not stream.readline(64).startswith(MAGIC):
        raise SourceError("expected a NRRD file, which begins with NRRD000 and a digit")
    fields, pairs, files = _lines(stream)
    for name in ("type", "dimension", "sizes", "encoding"):
        if name not in fields:
            raise SourceError(f"the NRRD header has no {name}")
    sizes = _sizes(fields)
    encoding = _ENCODINGS.get(fields["encoding"].lower())
    if encoding is None:
        raise SourceError(f"NRRD's encoding must be raw, gzip, bzip2, text or hex, got {fields['encoding'][:40]!r}")
    return NrrdHeader(fields, pairs, sizes, _dtype(fields, encoding), encoding, files, stream.tell())


def _lines(stream: BinaryIO) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    files: list[str] = []
    listing = False
    read = 0
    while (raw := stream.readline(_HEADER_BYTES)).rstrip(b"\r\n"):
        read += len(raw)
        if read > _HEADER_BYTES:
            raise SourceError(f"the NRRD header is longer than {_HEADER_BYTES >> 20} MiB")
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        key, pair, value = line.partition(":=")
        if listing:
            files.append(line.strip())
        elif line.startswith("#"):
            continue
        elif pair and ": " not in key:
            pairs[key] = value
        else:
            listing = _add_field(line, fields, files)
    return fields, pairs, tuple(files[: _MOST_FILES + 1])


def _add_field(line: str, fields: dict[str, str], files: list[str]) -> bool:
    """Take one ``name: value`` line; whether the lines that follow name data files."""
    name, colon, value = line.partition(":")
    name = name.strip().lower()
    name = _ALIASES.get(name, name)
    value = value.strip()
    if not colon:
        raise SourceError("a line of the NRRD header is neither a field, nor a key/value pair, nor a comment")
    if name in fields:
        raise SourceError(f"the NRRD header states {name[:40]!r} twice")
    fields[name] = value
    if name != "data file":
        return False
    if value.split(" ")[0] == "LIST":
        return True
    files.extend(_named_files(value))
    return False


def _named_files(value: str) -> list[str]:
    """One file, or the pattern ``name%03d.raw first last step [subdim]``."""
    words = value.split()
    if len(words) < 4 or not _PATTERN.search(words[0]):
        return [value]
    try:
        first, last, step = (int(word) for word in words[1:4])
        numbers = range(first, last + (1 if step > 0 else -1), step)
    except ValueError as error:
        raise SourceError("NRRD's data file pattern needs first, last and step as whole numbers") from error
    if len(numbers) > _MOST_FILES:
        raise SourceError(f"the NRRD header names {len(numbers)} data files, more than {_MOST_FILES}")
    found = _PATTERN.search(words[0])
    assert found is not None
    return [words[0][: found.start()] + found.group() % number + words[0][found.end() :] for number in numbers]


def _sizes(fields: dict[str, str]) -> tuple[int, ...]:
    try:
        dimension = int(fields["dimension"])
        sizes = tuple(int(word) for word in fields["sizes"].split())
    except ValueError as error:
        raise SourceError("NRRD's dimension and sizes must be whole numbers") from error
    if not 1 <= dimension <= _MOST_AXES or len(sizes) != dimension or min(sizes) < 1:
        raise SourceError(f"NRRD's sizes must be {dimension} numbers of at least 1, got {sizes}")
    return sizes


def _dtype(fields: dict[str, str], encoding: str) -> np.dtype:
    code = _TYPE_OF.get(fields["type"].lower())
    if code is None:
        raise SourceError(f"NRRD's type must be an integer or real number, got {fields['type'][:40]!r}")
    endian = fields.get("endian", "").lower()
    if code[1] == "1" or encoding == "text":
        return np.dtype(code)
    if endian not in ("little", "big"):
        raise SourceError(f"NRRD's endian must be little or big, got {endian[:40]!r}")
    return np.dtype(("<" if endian == "little" else ">") + code)


def vector(text: str) -> tuple[float, ...] | None:
    """``(x,y,z)`` → numbers; `None` for ``none``.

    Raises:
        GeometryError: it is neither.
    """
    stripped = text.strip().lower()
    if stripped == "none":
        return None
    try:
        if not (stripped.startswith("(") and stripped.endswith(")")):
            raise ValueError("no parentheses")
        return tuple(float(part) for part in stripped[1:-1].split(","))
    except ValueError as error:
        raise GeometryError(f"expected a vector like (1,0,0) in the NRRD header, got {text[:40]!r}") from error


def relative_data_file(name: str) -> PurePosixPath:
    """The path of a data file below its header's folder.

    Raises:
        SourceError: it lies elsewhere.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not name or path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise SourceError("the NRRD header names a data file outside of its own folder; only those beside it are read")
    return path
