"""An independent validator (dicom3tools) finds no error in a de-identified file that it does not find in the source."""

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

DATA = Path(os.environ.get("CELLSCAN_DATA", "../shared/data")).resolve() / "dicom"
CLEANED = {
    "dates": "shift",
    "retain_device": True,
    "retain_institution": True,
    "retain_patient_characteristics": True,
    "clean_descriptors": True,
    "clean_structured_content": True,
    "clean_graphics": True,
}
SHARED = [
    "dcm_qa_ct_ge/In/01.dcm",  # CT
    "dcm_qa_ts/In/1.dcm",  # MR with Siemens' private attributes
    "highdicom/data/test_files/sm_image.dcm",
    "highdicom/data/test_files/seg_image_ct_binary.dcm",
    "highdicom/data/test_files/sr_document.dcm",
    "highdicom/data/test_files/sr_document_with_multiple_groups.dcm",
    "rt_utils/tests/mock_data/rt.dcm",
    "dcmqi/data/sr-example/sr.dcm",
]
PYDICOM = ["CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "rtdose.dcm", "test-SR.dcm", "waveform_ecg.dcm"]
pytestmark = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")


def errors(path):
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace")
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    return Counter(re.sub(r"<[^<>]*>$", "", line) for line in lines)


def check(path, clean, options):
    cleaned = clean(path, accept_burned_in=True, **options)
    assert not errors(cleaned.filename) - errors(path)


@pytest.mark.parametrize("options", [{}, CLEANED], ids=["basic", "cleaned"])
@pytest.mark.parametrize("name", PYDICOM)
def test_no_new_error_in_pydicoms_examples(name, clean, options):
    check(Path(get_testdata_file(name)), clean, options)


@pytest.mark.parametrize("options", [{}, CLEANED], ids=["basic", "cleaned"])
@pytest.mark.parametrize("name", SHARED)
def test_no_new_error_in_public_files(name, clean, options):
    if not (DATA / name).is_file():
        pytest.skip(f"the data folder has no {name}")
    check(DATA / name, clean, options)
