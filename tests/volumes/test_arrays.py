import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.volumes.arrays import DAMAGED, DamagedArray, StoredArray, content_digest, write_array

SHAPES = [(1, 70, 130, 37), (3, 1100, 700), (1, 5, 4, 1), (6, 40, 50), (2, 300, 300, 3), (1, 1, 1)]


def _voxels(shape, dtype=np.int16):
    return np.arange(np.prod(shape), dtype=np.int64).reshape(shape).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_what_is_written_is_read(tmp_path, shape, dtype):
    voxels = _voxels(shape, dtype)
    digest = write_array(tmp_path / "a", voxels).content
    stored = StoredArray.open(tmp_path / "a")
    assert (stored.shape, stored.dtype, stored.ndim) == (voxels.shape, voxels.dtype, voxels.ndim)
    np.testing.assert_array_equal(np.asarray(stored), voxels)
    assert digest == content_digest(voxels) == content_digest(np.asfortranarray(voxels)) == content_digest(stored)


def test_regions_are_numpys(tmp_path):
    voxels = _voxels((2, 40, 140, 37))
    write_array(tmp_path / "a", voxels)
    stored = StoredArray.open(tmp_path / "a")
    for index in (
        0,
        -1,
        (0, 3),
        (..., 36),
        (slice(None), slice(3, 39), 130),
        (1, ..., slice(5, 5)),
        (0, slice(1, 40, 7)),
    ):
        np.testing.assert_array_equal(stored[index], voxels[index])
    for wrong in (2, (0, 0, 0, 0, 0), (..., ...), slice(None, None, -1)):
        with pytest.raises(IndexError):
            stored[wrong]


def test_only_the_chunks_of_a_region_are_read(tmp_path):
    voxels = _voxels((1, 300, 300, 70))
    write_array(tmp_path / "a", voxels)
    stored = StoredArray.open(tmp_path / "a")
    stored[0, 0, 0, 0]
    assert int(stored._checked.sum()) == 1
    assert len(stored._checked) == 3 * 3 * 3


class _Regions:
    """Gives regions and never the whole: as a slide does."""

    def __init__(self, voxels):
        self.voxels, self.largest = voxels, 0
        self.shape, self.dtype, self.ndim = voxels.shape, voxels.dtype, voxels.ndim

    def __getitem__(self, region):
        piece = self.voxels[region]
        self.largest = max(self.largest, piece.size)
        return piece


def test_a_source_of_regions_is_written_piece_by_piece(tmp_path):
    source = _Regions(_voxels((3, 4000, 3000), np.uint8))
    digest = write_array(tmp_path / "a", source).content
    assert source.largest <= 16 << 20 < source.voxels.nbytes
    assert digest == content_digest(source.voxels)
    np.testing.assert_array_equal(StoredArray.open(tmp_path / "a"), source.voxels)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_one_changed_byte_is_an_error_or_changes_nothing(tmp_path_factory, place, flip):
    folder = tmp_path_factory.mktemp("rot")
    voxels = _voxels((1, 60, 50, 20))
    write_array(folder / "a", voxels)
    raw = bytearray((folder / "a").read_bytes())
    raw[int(place * len(raw))] ^= flip
    (folder / "a").write_bytes(raw)
    try:
        read = np.asarray(StoredArray(folder / "a", voxels.shape, voxels.dtype))
    except DamagedArray:
        assert (folder / DAMAGED).exists()
    else:
        np.testing.assert_array_equal(read, voxels)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_file_is_damaged(tmp_path, kept):
    voxels = _voxels((1, 60, 50, 20))
    write_array(tmp_path / "a", voxels)
    raw = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(raw[: int(kept * len(raw))])
    with pytest.raises(DamagedArray, match="ingest their archive again"):
        np.asarray(StoredArray(tmp_path / "a", voxels.shape, voxels.dtype))


def test_an_open_array_travels_to_another_process(tmp_path):
    voxels = _voxels((1, 20, 10, 5))
    write_array(tmp_path / "a", voxels)
    stored = StoredArray.open(tmp_path / "a")
    stored[0]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stored)), voxels)


def test_the_digest_of_the_content_is_kept_beside_it_and_computed_where_it_is_not(tmp_path):
    import blosc2

    voxels = np.arange(60, dtype=np.int32).reshape(1, 5, 4, 3)
    written = write_array(tmp_path / "a.b2nd", voxels)
    assert StoredArray.open(written.path).content == written.content == content_digest(voxels)
    opened = blosc2.open(str(written.path), mode="a")
    opened.schunk.vlmeta["content_sha256"] = "put down"
    assert StoredArray.open(written.path).content == "put down"  # nothing is read
    del opened.schunk.vlmeta["content_sha256"]
    assert StoredArray.open(written.path).content == written.content
