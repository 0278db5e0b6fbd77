import threading

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.sources.dicom.stacking import stack_planes


def _stack(planes, scales):
    return stack_planes(lambda k: planes[k], scales)


def _planes(*values, dtype=np.int16):
    return [np.array([[value]], dtype) for value in values]


def test_planes_come_in_their_order_whatever_thread_reads_them():
    planes = [np.full((3, 4), k, np.uint8) for k in range(50)]
    stacked = _stack(planes, [(1.0, 0.0)] * 50)
    assert (stacked.dtype, stacked.shape) == (np.uint8, (50, 3, 4))
    assert stacked[:, 2, 3].tolist() == list(range(50))


def test_planes_of_two_types_share_one_that_holds_both():
    planes = [*_planes(-5), *_planes(60000, dtype=np.uint16)]
    stacked = _stack(planes, [(1.0, 0.0)] * 2)
    assert stacked.dtype == np.int32
    assert stacked[:, 0, 0].tolist() == [-5, 60000]


@pytest.mark.parametrize(
    ("values", "dtype", "intercept", "expected"),
    [
        ((0, 4095), np.uint16, -1024, np.int16),
        ((0, 40000), np.uint16, -1024, np.int32),
        ((40000, 40001), np.uint16, -8192, np.int16),
        ((40000, 65535), np.uint16, -40000, np.int16),
        ((-32768, 0), np.int16, -1, np.int32),
        ((2**31 - 1, 0), np.int32, 1, np.int64),
    ],
)
def test_whole_intercepts_give_the_smallest_type_that_holds_all_values(values, dtype, intercept, expected):
    stacked = _stack(_planes(*values, dtype=dtype), [(1.0, float(intercept))] * 2)
    assert stacked.dtype == expected
    assert stacked[:, 0, 0].tolist() == [value + intercept for value in values]


def test_each_plane_has_its_own_scale():
    stacked = _stack(_planes(10, 10), [(0.5, 1.0), (2.0, -1.0)])
    assert stacked.dtype == np.float32
    assert stacked[:, 0, 0].tolist() == [6.0, 19.0]


def test_a_late_large_value_is_not_wrapped():
    planes = _planes(*[0] * 20, 32767)
    stacked = _stack(planes, [(1.0, 0.0)] * 20 + [(1.0, 1.0)])
    assert stacked[:, 0, 0].tolist() == [0] * 20 + [32768]


def test_colour_planes_keep_their_last_axis():
    planes = [np.arange(12, dtype=np.uint8).reshape(2, 2, 3)] * 2
    assert np.array_equal(_stack(planes, [(1.0, 0.0)] * 2)[1], planes[0])


def test_unlike_planes_are_refused():
    with pytest.raises(SourceError, match="mixed"):
        _stack([np.zeros((2, 2)), np.zeros((2, 2, 3))], [(1.0, 0.0)] * 2)


def test_fault_of_a_plane_reaches_the_caller_and_ends_the_threads():
    def read(k):
        if k == 3:
            raise SourceError("plane 3 is broken")
        return np.zeros((2, 2), np.int16)

    with pytest.raises(SourceError, match="plane 3"):
        stack_planes(read, [(1.0, 0.0)] * 10)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("planes")]
