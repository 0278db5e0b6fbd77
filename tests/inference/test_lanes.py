import threading
import time

import pytest
import torch

from pipeline.inference.lanes import Lanes


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_two_pieces_of_work_are_done_at_once_each_with_its_share_of_the_processors():
    both, threads = threading.Barrier(2, timeout=10), []

    def work():
        threads.append(torch.get_num_threads())
        both.wait()  # neither ends alone

    lanes = Lanes(2, 6, pytest.fail)
    for _ in range(2):
        lanes.do(work)
    lanes.wait()
    lanes.close()
    assert threads == [3, 3]


def test_one_lane_is_the_calling_thread():
    seen = []
    lanes = Lanes(1, 2, pytest.fail)
    lanes.do(lambda: seen.append(threading.current_thread()))
    assert seen == [threading.current_thread()]
    lanes.wait()
    lanes.close()


def test_what_work_raises_is_told_at_once_and_raised_where_it_is_waited_for():
    told = threading.Event()

    def work():
        raise RuntimeError("the device is gone")

    lanes = Lanes(2, 2, told.set)

    def done():
        lanes.do(work)
        lanes.wait()

    with pytest.raises(RuntimeError, match="the device is gone"):
        done()
    assert told.is_set()
    lanes.close()


def test_what_has_not_begun_when_lanes_are_closed_is_dropped():
    begun, go, done = threading.Semaphore(0), threading.Event(), []

    def work(number):
        begun.release()
        go.wait(10)
        done.append(number)

    lanes = Lanes(2, 2, pytest.fail)
    for number in range(5):
        lanes.do(lambda number=number: work(number))
    assert begun.acquire(timeout=10)
    assert begun.acquire(timeout=10)
    closing = threading.Thread(target=lanes.close)
    closing.start()
    deadline = time.monotonic() + 10
    while not lanes._going[-1].cancelled() and time.monotonic() < deadline:
        time.sleep(0.01)
    go.set()
    closing.join(10)
    assert sorted(done) == [0, 1]
