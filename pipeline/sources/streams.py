"""Compressed streams that inflate only as much as is asked for, and count what they take in and give out."""

import bz2
import io
import lzma
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, Self, cast

Format = Literal["zip", "tar", "gzip", "bzip2", "xz", "zstd", "7z", "rar"]

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"PK\x07\x08", "zip"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
)
_TAR_MAGIC_AT = 257
READ_BYTES = 32 << 10
_MOST_AT_ONCE = 32 << 10  # fits the decompressors' first buffer: larger pieces take a quarter longer
# xz and zstd state how much memory they need, up to gigabytes; their strongest common settings need 65 and 128 MiB.
_XZ_MEMORY_BYTES = 256 << 20
_ZSTD_WINDOW_BYTES = 128 << 20


def archive_format(head: bytes) -> Format | None:
    """The format of an archive or compressed file by its first bytes (262 or more), or `None`."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    return "tar" if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar" else None


class Inflated:
    """A file's bytes, inflated if ``form`` says that it is compressed; from byte ``start``; counts bytes.

    Raises:
        EOFError, OSError: the stream is damaged or cut.
    """

    def __init__(self, path: Path, form: Format | None, read_bytes: int = READ_BYTES, start: int = 0) -> None:
        raw = path.open("rb", buffering=0)
        raw.seek(start)
        self._raw = _Counted(raw)
        self._stream = _OPENERS[form](cast(BinaryIO, self._raw), read_bytes)
        self.given = 0
        self.compressed = form not in (None, "tar")
        self._closing = weakref.finalize(self, self._raw.close)

    @property
    def taken(self) -> int:
        return self._raw.count

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, fewer than asked for now and then; none at the end."""
        try:
            data: bytes = self._stream.read(size)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # zlib's, lzma's, ISA-L's and zstandard's own
            raise EOFError("the compressed stream is damaged or cut") from error
        self.given += len(data)
        return data

    def close(self) -> None:
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Counted(io.RawIOBase):
    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._stream.readinto(buffer)
        self.count += count or 0
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Decompressor(Protocol):
    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Blocks:
    """gzip, bzip2 and xz streams, several of which may follow each other in one file."""

    def __init__(self, stream: BinaryIO, read_bytes: int, make: Callable[[], _Decompressor]) -> None:
        self._stream = stream
        self._read_bytes = read_bytes
        self._make = make
        self._inner = make()

    def read(self, size: int) -> bytes:
        while True:
            data = b""
            if self._inner.eof:
                data = self._inner.unused_data or self._stream.read(self._read_bytes)
                if not data.strip(b"\0"):  # files may be padded with zeros
                    return b""
                self._inner = self._make()
            elif self._inner.needs_input:
                data = self._stream.read(self._read_bytes)
                if not data:
                    raise EOFError("the compressed stream is cut")
            inflated = self._inner.decompress(data, min(size, _MOST_AT_ONCE))
            if inflated:
                return inflated


def _gzip() -> _Decompressor:
    from isal import igzip_lib  # 2 to 3 times faster than zlib, and as strict about checksums

    return cast(_Decompressor, igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP))


def _bzip2() -> _Decompressor:
    return cast(_Decompressor, bz2.BZ2Decompressor())


def _xz() -> _Decompressor:
    return cast(_Decompressor, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES))


def _zstd(stream: BinaryIO, read_bytes: int) -> Any:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    return decompressor.stream_reader(stream, read_size=read_bytes, read_across_frames=True)


def _plain(stream: BinaryIO, read_bytes: int) -> Any:
    return stream


_OPENERS: dict[Format | None, Callable[[BinaryIO, int], Any]] = {
    None: _plain,
    "tar": _plain,
    "gzip": lambda stream, read_bytes: _Blocks(stream, read_bytes, _gzip),
    "bzip2": lambda stream, read_bytes: _Blocks(stream, read_bytes, _bzip2),
    "xz": lambda stream, read_bytes: _Blocks(stream, read_bytes, _xz),
    "zstd": _zstd,
}
