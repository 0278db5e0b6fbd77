"""One DICOM file, de-identified: its header is written anew, its pixel data are copied byte for byte."""

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from pipeline.errors import SourceError
from pipeline.sources.deidentification import burned_in, method
from pipeline.sources.deidentification.identity import Identity
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.pixel_data import PixelData, find_pixel_data
from pipeline.sources.deidentification.placing import write_once
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.rules import Rules
from pipeline.sources.deidentification.walker import Counts, Walker
from pipeline.sources.identifiers import uid_digest

HEADER_BYTES = 256 << 20
_BLOCK = 1 << 20
_MAGIC = b"DICM"


class Refused(SourceError):
    """A file that is read, but not copied; ``study`` is the digest of its new study UID."""

    def __init__(self, reason: str, study: str) -> None:
        super().__init__(reason)
        self.study = study


@dataclass(frozen=True)
class Written:
    """A finished file: its place below the output folder, whose it is, what was done, what a person should look at."""

    path: str
    patient: str
    study: str
    series: str
    counts: Counts
    flags: tuple[str, ...]


def deidentify_dicom(
    source: Path, out: Path, rules: Rules, options: DeidentifyOptions, pseudonyms: Pseudonyms
) -> Written:
    """Write ``source`` without its patient to ``out``/patient/study/series/instance.dcm, atomically.

    The names are a pseudonym and digests of the new UIDs; nothing of the source's name or preamble survives. The
    transfer syntax stays. What follows the pixel data (signatures, padding) is left out.

    Raises:
        Refused: text may be burned into the pixels, or the object is of a kind that no attribute rule can clean.
        SourceError: not DICOM, cut, or larger than it may be.
    """
    with source.open("rb") as file:
        stream, is_deflated = _plain(file)
        dataset = _header(stream)
        pixels = find_pixel_data(stream, dataset)
        patient = pseudonyms.patient(_patient_of(dataset))
        study = _new_digest(dataset, "StudyInstanceUID", options, pseudonyms)
        _check(dataset, options, study)
        flags = burned_in.flags(dataset)
        walker = Walker(rules, pseudonyms, Identity(dataset), patient, options.retain_safe_private)
        walker.walk(dataset)
        if dataset.get("PatientID"):
            dataset.PatientID = patient
            dataset.PatientName = patient
        method.record(dataset, options)
        path = "/".join((patient, *(_name(dataset, one) for one in ("StudyInstanceUID", "SeriesInstanceUID"))))
        path = f"{path}/{_name(dataset, 'SOPInstanceUID')}.dcm"
        write_once(out / path, _parts(dataset, stream, pixels, is_deflated))
    series = uid_digest(str(dataset.get("SeriesInstanceUID", ""))) or ""
    return Written(path, patient, study, series, walker.counts, tuple(flags))


def _plain(file: BinaryIO) -> tuple[BinaryIO, bool]:
    """The file's stream; of a deflated file, one with its data set inflated, within `HEADER_BYTES`."""
    head = file.read(132)
    if head[128:] != _MAGIC:
        file.seek(0)
        return file, False
    try:
        meta = pydicom.filereader._read_file_meta_info(file)
    except Exception as error:  # the reader's own message may quote a header value
        raise _unreadable(error) from error
    if str(meta.get("TransferSyntaxUID", "")) != DeflatedExplicitVRLittleEndian:
        file.seek(0)
        return file, False
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    buffer.write(bytes(128) + _MAGIC)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    write_file_meta_info(buffer, meta, enforce_standard=False)
    return BytesIO(buffer.getvalue() + b"".join(_inflated(file))), True


def _inflated(file: BinaryIO) -> Iterator[bytes]:
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for block in iter(lambda: file.read(1 << 16), b""):
        pending = block
        while pending:
            try:
                data = inflate.decompress(pending, 1 << 22)
            except zlib.error as error:
                raise _unreadable(error) from error
            total += len(data)
            if total > HEADER_BYTES:
                raise SourceError(f"deflated data grow beyond {HEADER_BYTES >> 20} MiB: refused")
            yield data
            pending = inflate.unconsumed_tail


def _header(stream: BinaryIO) -> FileDataset:
    """Everything before the pixel data; ``stream`` stands at their first byte, or at its end."""
    try:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        if size > HEADER_BYTES:
            pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=["SOPClassUID"], force=True)
            if stream.tell() > HEADER_BYTES:
                raise SourceError(f"the header is larger than {HEADER_BYTES >> 20} MiB: refused")
            stream.seek(0)
        dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    except SourceError:
        raise
    except RecursionError as error:
        raise SourceError("the DICOM header nests sequences without end") from error
    except MemoryError as error:
        raise SourceError("reading the DICOM header needs more memory than is allowed") from error
    except Exception as error:
        raise _unreadable(error) from error
    _check_whole(dataset)
    return dataset


def _check_whole(dataset: FileDataset) -> None:
    for tag in list(dataset.keys()):
        item: Any = dataset.get_item(tag)
        declared = getattr(item, "length", None)
        if item.is_raw and declared != 0xFFFFFFFF and declared != len(item.value or b""):
            raise SourceError("the file is cut inside its header")
    if str(dataset.file_meta.get("MediaStorageSOPClassUID", "")) == burned_in.DIRECTORY:
        raise Refused("a DICOMDIR only lists other files: not copied", "")
    if not dataset.get("SOPClassUID") or not dataset.get("SOPInstanceUID"):
        raise SourceError("no SOPClassUID and SOPInstanceUID are found: not DICOM, cut or damaged")
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")) or ImplicitVRLittleEndian)
    if not syntax.is_transfer_syntax:
        raise SourceError("an unknown transfer syntax: what its pixel data hold cannot be judged")


def _check(dataset: FileDataset, options: DeidentifyOptions, study: str) -> None:
    reason = burned_in.no_way(dataset)
    if not reason and not options.accept_burned_in and (suspicion := burned_in.suspicion(dataset)):
        reason = f"text may be burned into the pixels: {suspicion}; look at them, then accept it by option"
    if reason:
        raise Refused(reason, study)


def _patient_of(dataset: FileDataset) -> str:
    """What tells the patient from others: the ID, else the study, so that two patients without ID are not one."""
    patient = str(dataset.get("PatientID") or "").strip(" \0\t\r\n")
    return patient or f"study {dataset.get('StudyInstanceUID') or dataset.get('SOPInstanceUID')}"


def _new_digest(dataset: FileDataset, keyword: str, options: DeidentifyOptions, pseudonyms: Pseudonyms) -> str:
    uid = str(dataset.get(keyword) or "")
    return uid_digest(uid if options.retain_uids else pseudonyms.uid(uid)) or ""


def _name(dataset: FileDataset, keyword: str) -> str:
    return uid_digest(str(dataset.get(keyword) or "")) or "none"


def _parts(dataset: FileDataset, stream: BinaryIO, pixels: PixelData | None, is_deflated: bool) -> Iterator[bytes]:
    """The new file, piece by piece."""
    is_implicit, is_little = dataset.original_encoding
    syntax = DeflatedExplicitVRLittleEndian if is_deflated else _syntax(dataset, is_implicit, is_little)
    yield _head(dataset, syntax)
    body = DicomBytesIO()
    body.is_implicit_VR, body.is_little_endian = bool(is_implicit), bool(is_little)
    write_dataset(body, dataset)
    pieces = _chained(body.getvalue(), pixels.pieces(stream, _BLOCK) if pixels else iter(()))
    yield from _deflated(pieces) if is_deflated else pieces


def _syntax(dataset: FileDataset, is_implicit: bool | None, is_little: bool | None) -> str:
    stated = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if stated:
        return stated
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian


def _head(dataset: FileDataset, syntax: str) -> bytes:
    """An empty preamble and file meta information of our own: nothing of the sender's is taken over."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.ImplementationVersionName = "CELLSCAN"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    buffer.write(bytes(128) + _MAGIC)
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue()


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _deflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A stream of even length (PS3.5 A.5)."""
    deflate, total = zlib.compressobj(wbits=-zlib.MAX_WBITS), 0
    for piece in pieces:
        data = deflate.compress(piece)
        total += len(data)
        yield data
    last = deflate.flush()
    yield last + b"\0" * ((total + len(last)) % 2)


def _unreadable(error: Exception) -> SourceError:
    return SourceError(f"not a readable DICOM file ({type(error).__name__}): damaged or cut")
