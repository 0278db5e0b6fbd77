from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from pipeline.errors import SourceError
from pipeline.sources.archives.dicomdir import read_dicomdir

PUBLIC = Path(str(get_testdata_file("DICOMDIR")))


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-nooffset"])
def test_files_of_a_public_directory_are_all_there(name):
    files = read_dicomdir(PUBLIC.with_name(name)).files
    assert len(files) == 31
    assert files[0] == "77654033/CR1/6154"
    assert all((PUBLIC.parent / file).is_file() for file in files)


def test_directory_without_files_names_none():
    assert read_dicomdir(PUBLIC.with_name("DICOMDIR-empty.dcm")).files == ()


def _changed(folder, change):
    dataset = pydicom.dcmread(PUBLIC)
    change(next(record for record in dataset.DirectoryRecordSequence if "ReferencedFileID" in record))
    dataset.save_as(folder / "DICOMDIR")
    return folder / "DICOMDIR"


@pytest.mark.parametrize("named", [["..", "secret"], ["", "etc", "passwd"], ["C:", "evil"], ["a", "/../../b"]])
def test_file_outside_of_the_folder_is_refused(tmp_path, named):
    path = _changed(tmp_path, lambda record: setattr(record, "ReferencedFileID", named))
    with pytest.raises(SourceError, match="outside of its own folder"):
        read_dicomdir(path)


def test_inactive_record_names_no_file(tmp_path):
    path = _changed(tmp_path, lambda record: setattr(record, "RecordInUseFlag", 0))
    assert len(read_dicomdir(path).files) == 30


def test_other_dicom_file_is_refused():
    with pytest.raises(SourceError, match="no directory records"):
        read_dicomdir(Path(str(get_testdata_file("CT_small.dcm"))))
