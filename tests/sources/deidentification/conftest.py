from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import FileDataset

from pipeline.sources.deidentification.dicom_file import deidentify_dicom
from pipeline.sources.deidentification.options import DeidentifyOptions
from pipeline.sources.deidentification.pseudonyms import Pseudonyms
from pipeline.sources.deidentification.rules import Rules

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def _relaxed(monkeypatch):
    """As in the decoding child: values that break DICOM's letter are no reason to warn."""
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.fixture
def clean(tmp_path) -> Callable[..., FileDataset]:
    """``clean(dataset_or_path, **options)``: de-identified and read back; ``.filename`` is where it lies."""

    def run(source: FileDataset | Path, key: bytes = KEY, **options: object) -> FileDataset:
        if isinstance(source, FileDataset):
            path = tmp_path / "source.dcm"
            source.save_as(path, enforce_file_format=True)
            source = path
        chosen = DeidentifyOptions(**options)
        written = deidentify_dicom(source, tmp_path / "out", Rules(chosen), chosen, Pseudonyms(key))
        made = pydicom.dcmread(tmp_path / "out" / written.path)
        (tmp_path / "out" / written.path).rename(tmp_path / "cleaned.dcm")
        made.filename = tmp_path / "cleaned.dcm"
        made.written = written
        return made

    return run
