"""zip and tar (plain, gzip, bzip2, xz, zstd) → files below a folder, within limits.

An archive that is unsafe as such (a path that leads out of its folder, a decompression bomb, more than the limits) or
that is cut is refused as a whole: its maker meant harm or it has lost files. A member that cannot be taken (a link, a
device, encrypted, damaged, a name that two members have) is refused by itself, with its reason. Files on disk have
generated names, so that no name in an archive can do anything; their paths are kept beside them.
"""

import errno
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from pipeline.errors import SourceError, StoreError
from pipeline.sources.archives.limits import UnpackLimits, file_name, safe_name
from pipeline.sources.streams import READ_BYTES, Format, Inflated, archive_format

_CHUNK = 1 << 20
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # ZIP's APPNOTE 4.4.4: encrypted, strongly encrypted, masked directory
_UNIX = 3
_LOCAL_HEADER_BYTES = 30
_TAR_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True)
class Member:
    """A file of an archive: its path inside (POSIX style), where it lies now, and its bytes."""

    relative: str
    location: Path
    size: int


@dataclass(frozen=True)
class RefusedMember:
    relative: str
    reason: str


@dataclass(frozen=True)
class Unpacked:
    members: tuple[Member, ...]
    refused: tuple[RefusedMember, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "members": [[member.relative, str(member.location), member.size] for member in self.members],
            "refused": [[member.relative, member.reason] for member in self.refused],
        }


def unpack(path: Path, out: Path, limits: UnpackLimits = UnpackLimits()) -> Unpacked:
    """The files in an archive, written below ``out``, in the archive's order; folders themselves are not listed.

    Archives inside are files like others. Nothing is left in ``out`` where the archive is refused.

    Args:
        path: the archive; its format is known by content.
        out: a folder for this archive alone; it is made, and must be empty.
        limits: what it may hold.

    Raises:
        SourceError: not an archive, unsafe, larger than the limits, damaged or cut, or the disk is full.
    """
    with path.open("rb") as stream:
        form = archive_format(stream.read(512))
    if form in (None, "7z", "rar"):
        raise SourceError(f"expected a zip or tar archive, got {form or 'another kind of file'}: unpack it first")
    taking = _Taking(out, limits)
    try:
        if form == "zip":
            _unzip(path, taking)
        else:
            _untar(path, form, taking)
    except OSError as error:
        taking.discard()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreError("the disk has no room for an unpacked archive: free some, and run again") from error
        raise SourceError(f"the {form} archive is damaged or cut") from error
    except (EOFError, zipfile.BadZipFile, tarfile.TarError, ValueError, NotImplementedError) as error:
        taking.discard()
        raise SourceError(f"the {form} archive is damaged or cut") from error
    except BaseException:
        taking.discard()
        raise
    return taking.done()


@dataclass
class _Taking:
    """Members as they are taken out."""

    out: Path
    limits: UnpackLimits
    members: dict[str, Member] = field(default_factory=dict)
    refused: list[RefusedMember] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    total: int = 0
    count: int = 0

    def name(self, stated: str) -> str:
        self.count += 1
        self.limits.check_count(self.count)
        return safe_name(stated, self.limits)

    def refuse(self, relative: str, reason: str) -> None:
        self.refused.append(RefusedMember(relative, reason))

    def take(self, relative: str, chunks: Iterator[bytes], size: int) -> None:
        """Write one member of ``size`` stated bytes.

        Raises:
            SourceError: too large.
            EOFError: there are fewer bytes than stated.
        """
        self.limits.check_size(size, self.total + size)
        if relative in self.names:
            self._ambiguous(relative)
            return
        self.names.add(relative)
        location = self.out / file_name(len(self.names), relative)
        location.parent.mkdir(parents=True, exist_ok=True)
        self.members[relative] = Member(relative, location, size)
        with location.open("xb") as stream:
            written = sum(stream.write(chunk) for chunk in chunks)
        if written != size:
            raise EOFError(f"{written} of {size} bytes")
        self.total += size

    def drop(self, relative: str, reason: str) -> None:
        """Refuse a member that was begun."""
        member = self.members.pop(relative, None)
        if member is not None:
            member.location.unlink(missing_ok=True)
        self.refuse(relative, reason)

    def _ambiguous(self, relative: str) -> None:
        if relative in self.members:
            self.drop(relative, "several members of the archive have this name, so it is not known which is meant")

    def discard(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def done(self) -> Unpacked:
        return Unpacked(tuple(self.members.values()), tuple(self.refused))


def _unzip(path: Path, taking: _Taking) -> None:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        _check_directory(infos, path.stat().st_size, taking)
        for info in infos:
            relative = taking.name(info.orig_filename)
            reason = _zip_refusal(info)
            if info.is_dir() and not reason:
                continue
            if reason:
                taking.refuse(relative, reason)
            else:
                _take_zipped(archive, info, relative, taking)


def _check_directory(infos: list[zipfile.ZipInfo], packed: int, taking: _Taking) -> None:
    """What the zip's directory states is checked before anything is inflated."""
    limits = taking.limits
    limits.check_count(len(infos))
    for info in infos:
        safe_name(info.orig_filename, limits)
        limits.check_size(info.file_size, 0)
        limits.check_ratio(info.file_size, info.compress_size, "a member")
    total = sum(info.file_size for info in infos)
    limits.check_size(0, total)
    limits.check_ratio(total, packed, "the archive")
    ends = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset < ends:
            raise SourceError("unsafe archive: members overlap, as in a decompression bomb")
        ends = info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size
    if ends > packed:
        raise EOFError("members end behind the file")


def _zip_refusal(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted: unpack it with its password first"
    mode = info.external_attr >> 16 if info.create_system == _UNIX else 0
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link: links are not followed" if stat.S_ISLNK(mode) else "a device or pipe"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        return f"compressed by zip's method {info.compress_type}, which is not read: unpack it first"
    return ""


def _take_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, relative: str, taking: _Taking) -> None:
    try:
        with archive.open(info) as stream:
            taking.take(relative, _chunks(stream), info.file_size)
    except (EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, NotImplementedError):
        taking.drop(relative, "damaged inside the archive: its checksum or length is wrong")
    except OSError as error:
        if error.errno is not None:  # the disk's; bzip2's own have no number
            raise
        taking.drop(relative, "damaged inside the archive: its compressed data cannot be read")


def _untar(path: Path, form: Format, taking: _Taking) -> None:
    with Inflated(path, form) as stream:
        counted = _Bounded(stream, taking.limits, form)
        with tarfile.open(fileobj=counted, mode="r|", tarinfo=_StrictInfo) as archive:  # type: ignore[call-overload]
            while (info := archive.next()) is not None:
                _take_tarred(archive, info, taking, counted)
                archive.members.clear()  # else each is remembered
        while counted.read(_CHUNK):  # to the end, where the checksum is
            pass


def _take_tarred(archive: tarfile.TarFile, info: tarfile.TarInfo, taking: _Taking, stream: "_Bounded") -> None:
    relative = "." if info.isdir() and info.name in (".", "./", "") else taking.name(info.name)
    if info.isdir():
        return
    taking.limits.check_size(info.size, taking.total + info.size)
    if info.type in _TAR_KINDS or info.issparse() or not info.isreg():
        kind = _TAR_KINDS.get(info.type, "a sparse file" if info.issparse() else "no regular file")
        taking.refuse(relative, f"{kind}: only regular files are taken from archives")
        return
    stream.begin()
    content = archive.extractfile(info)
    assert content is not None  # a regular file
    with content:
        taking.take(relative, _chunks(content), info.size)


class _Bounded:
    """What `tarfile` reads from: the inflated stream, watched for its ratio, of the whole and since `begin`."""

    def __init__(self, stream: Inflated, limits: UnpackLimits, form: Format) -> None:
        self._stream = stream
        self._limits = limits
        self._compressed = form != "tar"
        self._from = (0, 0)

    def begin(self) -> None:
        self._from = (self._stream.given, self._stream.taken)

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        if self._compressed:
            given, taken = self._stream.given, self._stream.taken
            self._limits.check_ratio(given, taken, "the archive")
            # What was read ahead when the member began is not known to be its own or not: two chunks of doubt.
            self._limits.check_ratio(given - self._from[0], taken - self._from[1] + 2 * READ_BYTES, "a member")
        # Headers and padding count too: no stream of them is endless.
        self._limits.check_size(0, self._stream.given)
        return data


class _StrictInfo(tarfile.TarInfo):
    """`tarfile` takes a damaged or missing header behind the first member for the archive's end; this does not."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_StrictInfo":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise SourceError("the tar archive is damaged or cut, or the compressed file is no tar") from error


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk
