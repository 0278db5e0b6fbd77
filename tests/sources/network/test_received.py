import pytest

from pipeline.errors import SourceError
from pipeline.sources.network.received import Received


@pytest.fixture
def received(tmp_path):
    folder = Received(tmp_path / "received")
    yield folder
    folder.close()


def test_names_are_digests_and_never_what_was_sent(received):
    path = received.path("../../etc", "/abs", "a/../b")
    assert path.parent.parent.parent == received.root
    assert all(len(part) == 16 for part in (path.stem, path.parent.name, path.parent.parent.name))


def test_the_same_again_changes_nothing(received):
    path = received.path("1", "2", "3")
    assert received.keep(path, [b"ab", b"cd"])
    written = path.stat().st_mtime_ns
    assert not received.keep(path, [b"abcd"])
    assert path.stat().st_mtime_ns == written
    assert received.count("1") == 1


def test_other_bytes_under_the_same_uid_are_kept_beside(received):
    path = received.path("1", "2", "3")
    for content in (b"first", b"other", b"third", b"other"):
        received.keep(path, [content])
    assert sorted(one.read_bytes() for one in path.parent.iterdir()) == [b"first", b"other", b"third"]


def test_what_breaks_off_leaves_nothing(received):
    def blocks():
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        received.keep(received.path("1", "2", "3"), blocks())
    assert [path for path in received.root.parent.rglob("*") if path.is_file() and path.suffix != ".lock"] == []


def test_two_cannot_fill_one_folder(received):
    with pytest.raises(SourceError, match="another cellscan"):
        Received(received.root)
