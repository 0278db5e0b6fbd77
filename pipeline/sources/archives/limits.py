"""What an archive file may hold, and which names in it are safe."""

import re
import unicodedata
from dataclasses import dataclass
from math import ceil

from pipeline.errors import SourceError

_DRIVE = re.compile(r"^[A-Za-z]:")
_SUFFIX = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")
_DELETE = 127
_CONTROL_PICTURES = 0x2400


@dataclass(frozen=True)
class UnpackLimits:
    """Bounds on one archive file; what exceeds them is refused as a whole.

    ``ratio`` is unpacked to packed bytes, of a member and of all together; it is judged from ``ratio_from_bytes``
    unpacked bytes on, since small files of zeros are common and harmless (deflate reaches 1,032).
    ``depth`` is the number of folders and ``name_length`` the characters of a member's path.
    """

    total_bytes: int = 256 << 30
    member_bytes: int = 32 << 30
    members: int = 1_000_000
    ratio: float = 200.0
    ratio_from_bytes: int = 16 << 20
    depth: int = 32
    name_length: int = 1024

    def check_ratio(self, unpacked: int, packed: int, what: str) -> None:
        """Raise `SourceError` where ``unpacked`` bytes came out of too few ``packed`` ones."""
        if unpacked > self.ratio_from_bytes and unpacked > self.ratio * max(packed, 1):
            raise SourceError(
                f"{what} grows {ceil(unpacked / max(packed, 1))} times when unpacked (at most {self.ratio:.0f} is "
                "allowed): it may be a decompression bomb; if it is meant so, unpack it and ingest the folder"
            )

    def check_size(self, member: int, total: int) -> None:
        """Raise `SourceError` where one member or all together are too large."""
        if member > self.member_bytes:
            raise SourceError(f"a member of {_size(member)} is more than {_size(self.member_bytes)}")
        if total > self.total_bytes:
            raise SourceError(f"unpacked, the archive is more than {_size(self.total_bytes)}")

    def check_count(self, members: int) -> None:
        if members > self.members:
            raise SourceError(f"the archive has more than {self.members:,} members")


def safe_name(stated: str, limits: UnpackLimits) -> str:
    """A member's path, POSIX style and relative, as it is shown and recorded; never used on disk.

    Backslashes separate folders, as Windows programs write them. Control characters are shown by their pictures
    (``␊``), other characters that no text holds as ``�``.

    Raises:
        SourceError: the path is absolute, climbs out of its folder, names a drive, or is too deep, long or empty.
    """
    name = stated.replace("\\", "/")
    shown = _printable(name)
    if name.startswith("/") or _DRIVE.match(name):
        raise SourceError("unsafe archive: a member has an absolute path")
    parts = [part for part in shown.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise SourceError("unsafe archive: the path of a member leads out of its folder")
    if not parts or "\0" in name:
        raise SourceError("unsafe archive: a member's name is empty or holds a NUL")
    if len(parts) > limits.depth:
        raise SourceError(f"unsafe archive: a member lies {len(parts)} folders deep, more than {limits.depth}")
    if len(shown) > limits.name_length:
        raise SourceError(f"unsafe archive: a member's path has {len(shown)} characters, over {limits.name_length}")
    return "/".join(parts)


def file_name(number: int, name: str) -> str:
    """The name on disk of member ``number``: generated, with the suffix of ``name`` where it is a plain one."""
    suffix = _SUFFIX.search(name.rsplit("/", 1)[-1])
    return f"{number // 1000:04d}/{number:07d}{suffix.group().lower() if suffix else ''}"


def _printable(name: str) -> str:
    return "".join(_picture(letter) for letter in name)


def _picture(letter: str) -> str:
    code = ord(letter)
    if code < 32:
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return "␡"
    return "�" if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") else letter


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 1 << 29 else f"{count / 2**20:.1f} MiB"
