"""Archive files made by hand: what comes out, what is refused, and that nothing is written elsewhere."""

import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from pipeline.errors import SourceError
from pipeline.sources.archives.limits import UnpackLimits
from pipeline.sources.archives.unpack import unpack

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom" / "bad" / "archive"
FILES = {"a/b/IM1.dcm": b"\0" * 130 + b"DICM", "a/c.nii.gz": os.urandom(3000), "leer ü.png": b""}
WRITERS = {"tar": None, "tar.gz": "gz", "tar.bz2": "bz2", "tar.xz": "xz"}


def _tar(files, mode="w:"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _zip(files, **more):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content, **more)
    return out.getvalue()


def _unpack(tmp_path, data, **limits):
    path = tmp_path / "archive"
    path.write_bytes(data)
    return unpack(path, tmp_path / "out", UnpackLimits(**limits))


def _content(unpacked):
    return {member.relative: member.location.read_bytes() for member in unpacked.members}


def _refused(tmp_path, data, message, **limits):
    with pytest.raises(SourceError, match=message):
        _unpack(tmp_path, data, **limits)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


@pytest.mark.parametrize(
    "data",
    [_zip(FILES), *(_tar(FILES, f"w:{kind or ''}") for kind in WRITERS.values()), zstandard.compress(_tar(FILES))],
    ids=["zip", *WRITERS, "tar.zst"],
)
def test_every_format_gives_the_files_with_their_paths(tmp_path, data):
    unpacked = _unpack(tmp_path, data)
    assert _content(unpacked) == FILES
    assert [member.size for member in unpacked.members] == [134, 3000, 0]
    assert unpacked.refused == ()


def test_files_on_disk_have_generated_names_with_plain_suffixes(tmp_path):
    unpacked = _unpack(tmp_path, _zip({"CON": b"1", "a/x.NII.GZ": b"2", "y.d;rm": b"3"}))
    names = [member.location.relative_to(tmp_path / "out").as_posix() for member in unpacked.members]
    assert names == ["0000/0000001", "0000/0000002.nii.gz", "0000/0000003"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../../up", "C:\\evil", "c:evil", "..\\up", "\\\\host\\share"]
)
@pytest.mark.parametrize("pack", [_zip, _tar])
def test_path_that_leads_out_refuses_the_archive(tmp_path, name, pack):
    _refused(tmp_path, pack({"good.dcm": b"1", name: b"2"}), "unsafe archive")


def test_control_characters_are_shown_and_backslashes_are_folders(tmp_path):
    unpacked = _unpack(tmp_path, _tar({"a b\n.dcm": b"1", "x\\y.dcm": b"2", "evil\u202egnp.dcm": b"3"}))
    assert list(_content(unpacked)) == ["a b␊.dcm", "x/y.dcm", "evil�gnp.dcm"]


def test_name_that_two_members_have_is_refused_and_the_others_are_taken(tmp_path):
    unpacked = _unpack(tmp_path, _tar({"a": b"1", "./b": b"2", "b": b"3", "c": b"4"}))
    assert _content(unpacked) == {"a": b"1", "c": b"4"}
    assert [one.relative for one in unpacked.refused] == ["b"]
    assert "several members" in unpacked.refused[0].reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.CHRTYPE, "dev"),
    ],
)
def test_links_and_devices_are_refused_one_by_one(tmp_path, kind, reason):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        special = tarfile.TarInfo("special")
        special.type, special.linkname = kind, "/etc/passwd"
        archive.addfile(special)
        file = tarfile.TarInfo("file")
        file.size = 1
        archive.addfile(file, io.BytesIO(b"x"))
    unpacked = _unpack(tmp_path, out.getvalue())
    assert _content(unpacked) == {"file": b"x"}
    assert [(one.relative, reason in one.reason) for one in unpacked.refused] == [("special", True)]


def test_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("file", "x")
    unpacked = _unpack(tmp_path, out.getvalue())
    assert _content(unpacked) == {"file": b"x"}
    assert "link" in unpacked.refused[0].reason


def test_encrypted_member_is_refused(tmp_path):
    data = bytearray(_zip({"a": b"secret", "b": b"plain"}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1  # the first member's flag
    unpacked = _unpack(tmp_path, bytes(data))
    assert _content(unpacked) == {"b": b"plain"}
    assert "encrypted" in unpacked.refused[0].reason


def test_damaged_member_of_a_zip_is_refused_and_the_others_are_taken(tmp_path):
    content = os.urandom(5000)
    data = bytearray(_zip({"a": content, "b": b"whole"}))
    data[data.index(content[2000:2020])] ^= 1
    unpacked = _unpack(tmp_path, bytes(data))
    assert _content(unpacked) == {"b": b"whole"}
    assert "checksum" in unpacked.refused[0].reason
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == 1


BOMB = {"random": os.urandom(1 << 20), "zeros": b"\0" * (40 << 20)}


@pytest.mark.parametrize(
    "pack", [_zip, lambda files: gzip.compress(_tar(files), 6), lambda files: zstandard.compress(_tar(files))]
)
def test_bomb_is_refused_by_its_ratio_even_beside_random_bytes(tmp_path, pack):
    _refused(tmp_path, pack(BOMB), r"grows \d+ times")


def test_small_files_of_zeros_are_no_bomb(tmp_path):
    unpacked = _unpack(tmp_path, _zip({"zeros": b"\0" * (8 << 20)}))
    assert unpacked.members[0].size == 8 << 20


def test_overlapping_members_are_refused(tmp_path):
    data = _zip({"a": b"1" * 100, "b": b"2" * 100})
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    _refused(tmp_path, data[: second + 42] + struct.pack("<I", 0) + data[second + 46 :], "overlap")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"members": 2}, "more than 2 members"),
        ({"member_bytes": 2999}, "a member of"),
        ({"total_bytes": 3100}, "unpacked, the archive is more"),
        ({"depth": 2}, "3 folders deep"),
        ({"name_length": 9}, "11 characters"),
    ],
)
@pytest.mark.parametrize("pack", [_zip, _tar])
def test_limits_refuse_the_archive(tmp_path, limits, message, pack):
    _refused(tmp_path, pack(FILES), message, **limits)


def _cuts():
    tar = _tar({"a": os.urandom(3000), "b": os.urandom(3000)})
    yield "in a member", tar[:2000]
    yield "between members", tar[: 512 + 3072]
    yield "in a header", tar[: 512 + 3072 + 100]
    yield "damaged header", tar[: 512 + 3072 + 60] + b"\xff" + tar[512 + 3072 + 61 :]
    yield "zip", _zip({"a": os.urandom(3000)})[:-40]
    for name, packed in (("gz", gzip.compress(tar)), ("xz", lzma.compress(tar)), ("zst", zstandard.compress(tar))):
        yield name, packed[: len(packed) // 2]
    yield "gz checksum", gzip.compress(tar)[:-1] + b"\xff"


@pytest.mark.parametrize("data", [data for _, data in _cuts()], ids=[name for name, _ in _cuts()])
def test_cut_or_damaged_archive_is_refused_as_a_whole(tmp_path, data):
    _refused(tmp_path, data, "damaged or cut")


@pytest.mark.parametrize(
    "data",
    [b"", b"text", gzip.compress(b"no tar at all" * 100), b"7z\xbc\xaf\x27\x1c" + b"\0" * 99],
    ids=[
        "nothing",
        "text",
        "gzip of text",
        "7z",
    ],  # gzip writes the time, and parallel runs compare names
)
def test_what_is_no_archive_is_refused(tmp_path, data):
    _refused(tmp_path, data, "zip or tar archive|no tar")


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder has no dicom/bad/archive")
@pytest.mark.parametrize(
    ("name", "reason"), [("abs.zip", "absolute path"), ("bomb_200mb.zip", "grows 1029 times"), ("cut.zip", "cut")]
)
def test_public_bad_archive_is_refused(tmp_path, name, reason):
    with pytest.raises(SourceError, match=reason):
        unpack(DATA / name, tmp_path / "out")


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder has no dicom/bad/archive")
def test_public_archive_of_odd_names_is_taken(tmp_path):
    unpacked = unpack(DATA / "unicode.zip", tmp_path / "out")
    assert [(member.relative, member.size) for member in unpacked.members] == [
        ("患者/Ü ñ.dcm", 39206),
        ("a b␊.dcm", 39206),
    ]
