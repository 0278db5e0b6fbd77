import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from pipeline.datasets.mapped import MappedArray

_HELD = Path("/proc/self/fd")


def test_regions_are_those_of_the_file_and_travel_to_workers(tmp_path):
    array = np.random.default_rng(0).random((2, 5, 6)).astype(np.float16)
    np.save(tmp_path / "a.npy", array)
    mapped = pickle.loads(pickle.dumps(MappedArray.open(tmp_path / "a.npy")))
    region = mapped[:, 1:4, 2:]
    np.testing.assert_array_equal(region, array[:, 1:4, 2:])
    assert region.flags.writeable
    assert (mapped.shape, mapped.ndim) == ((2, 5, 6), 3)
    np.testing.assert_array_equal(np.asarray(mapped), array)


def test_a_file_written_anew_is_read_anew(tmp_path):
    for value in (1.0, 2.0):
        np.save(tmp_path / "new.npy", np.full(3, value))
        (tmp_path / "new.npy").replace(tmp_path / "a.npy")
        assert MappedArray.open(tmp_path / "a.npy")[...].tolist() == [value] * 3


@pytest.mark.skipif(not _HELD.is_dir(), reason="open files are listed on Linux only")
def test_many_scans_hold_few_files_open(tmp_path):
    for n in range(100):
        np.save(tmp_path / f"{n}.npy", np.full(2, n))
    many = [MappedArray.open(tmp_path / f"{n}.npy") for n in range(100)]
    assert [one[0] for one in many] == list(range(100))
    held = sum(os.path.realpath(one).startswith(str(tmp_path)) for one in _HELD.iterdir())
    assert held <= 32
