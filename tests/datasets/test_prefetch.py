import threading

import pytest
import torch

from pipeline.datasets.prefetch import PrefetchingLoader, prefetched


def prefetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def test_items_come_in_order_and_whole():
    assert list(prefetched(range(100))) == list(range(100))
    assert list(prefetched([])) == []
    assert list(prefetched([None, None])) == [None, None]
    assert not prefetching()


def test_no_more_than_two_are_taken_ahead():
    taken, four = [], threading.Event()

    def items():
        for n in range(10):
            taken.append(n)
            if n == 3:
                four.set()
            yield n

    batches = prefetched(items(), ahead=2)
    assert [next(batches), next(batches)] == [0, 1]
    assert four.wait(60)  # they are taken without being asked for
    batches.close()
    assert taken == [0, 1, 2, 3]


def test_an_error_comes_in_its_place_with_where_it_was_raised():
    def items():
        yield 1
        raise ValueError("broken scan")

    batches = prefetched(items())
    assert next(batches) == 1
    with pytest.raises(ValueError, match="broken scan") as caught:
        next(batches)
    assert caught.traceback[-1].name == "items"
    assert not prefetching()


def test_an_interruption_while_waiting_ends_the_thread():
    asked = threading.Event()

    def items():
        yield 1
        asked.wait(60)
        yield 2

    batches = prefetched(items())
    assert next(batches) == 1
    asked.set()
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt)
    assert not prefetching()


def test_dropped_halfway_it_leaves_no_thread():
    batches = prefetched(range(10))
    next(batches)
    del batches
    assert not prefetching()


def test_the_thread_computes_alone_and_leaves_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)

        def items():
            yield torch.get_num_threads()

        assert list(prefetched(items())) == [1]
        assert torch.get_num_threads() == 2
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [2]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_what_any_other_gives(workers):
    data = torch.arange(7)
    plain = torch.utils.data.DataLoader(data, batch_size=2, num_workers=workers)
    loader = PrefetchingLoader(data, batch_size=2, num_workers=workers)
    torch.manual_seed(3)
    expected, state = [batch.tolist() for batch in plain], torch.get_rng_state()
    torch.manual_seed(3)
    assert [batch.tolist() for batch in loader] == expected
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loader_that_begins_anew_or_is_closed_ends_what_it_began():
    loader = PrefetchingLoader(torch.arange(100), batch_size=1)
    first = iter(loader)
    next(first)
    second = iter(loader)
    assert next(second).tolist() == [0]
    assert len(prefetching()) == 1
    loader.close()
    assert not prefetching()
    assert list(first) == []
