"""Masks from label maps, their overlap, and panoptic quality by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.evaluation import BoxOverlap, EvaluationConfig, MaskOverlap
from pipeline.detections import Detections
from pipeline.errors import DatasetError
from pipeline.evaluation import ScoredCase, evaluate, match_case
from pipeline.evaluation.masks import Masks
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import Annotations

CONFIG = EvaluationConfig(match=MaskOverlap(iou=0.5), bootstrap_rounds=100)


def strips(*rows: str) -> np.ndarray:
    """A label map ``(i, j)`` from digits; ``i`` runs to the right."""
    return np.array([[int(digit) for digit in row] for row in rows]).T


def case(there: np.ndarray, found: np.ndarray, scores: tuple[float, ...], ignore: tuple[int, ...] = ()) -> ScoredCase:
    """Detections' scores come in the order of their label values."""
    grid = Grid(there.shape, np.eye(there.ndim + 1))
    boxes, values = Boxes.from_label_map(there, grid)
    seen, seen_values = Boxes.from_label_map(found, grid)
    annotations = Annotations(boxes, ("cell",) * len(boxes), np.isin(values, ignore))
    detections = Detections("a", seen, np.array(scores), np.zeros(len(seen), dtype=int), ("cell",))
    order = np.argsort(-np.array(scores), kind="stable")
    masks = Masks.of_label_map(found, seen_values[order])
    return ScoredCase("a", "p", annotations, detections, {}, Masks.of_label_map(there), masks)


def test_each_value_is_an_object_and_pieces_belong_together():
    masks = Masks.of_label_map(strips("50055", "00300"))
    assert len(masks) == 2
    assert masks.sizes.tolist() == [1, 3]  # 3, then 5


def test_named_values_give_the_order_and_absent_ones_are_empty():
    masks = Masks.of_label_map(strips("5500", "0033"), [5, 9, 3])
    assert masks.sizes.tolist() == [2, 0, 2]
    assert Masks.of_label_map(strips("5533"), [3]).sizes.tolist() == [2]


def test_value_that_comes_twice_or_is_background_is_refused():
    for values in ([5, 5], [0, 5]):
        with pytest.raises(ValueError, match="must be positive and differ"):
            Masks.of_label_map(strips("55"), values)


def test_lattices_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"lattices of \(2, 1\) and \(3, 1\)"):
        Masks.of_label_map(strips("11")).shared(Masks.of_label_map(strips("111")))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(9, 7), (6, 5, 4)]))
def test_shared_voxels_are_those_of_all_pairs(seed, shape):
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, 5, shape), rng.integers(0, 4, shape)
    a, b = Masks.of_label_map(one, range(1, 5)), Masks.of_label_map(other, range(1, 4))
    table = np.zeros((4, 3), dtype=int)
    own, others, voxels = a.shared(b)
    table[own, others] = voxels
    assert table.tolist() == [[((one == p) & (other == q)).sum() for q in range(1, 4)] for p in range(1, 5)]


def test_masks_that_overlap_each_other_share_with_both():
    squares = np.zeros((2, 8, 4), dtype=bool)  # i 0 … 3 and i 2 … 5
    squares[0, :4] = squares[1, 2:6] = True
    voxel, owner = np.nonzero(squares.reshape(2, -1).T)
    both = Masks((8, 4), voxel, owner, 2)
    own, others, voxels = both.shared(both)
    assert list(zip(own.tolist(), others.tolist(), voxels.tolist(), strict=True)) == [
        (0, 0, 16),
        (0, 1, 8),
        (1, 0, 8),
        (1, 1, 16),
    ]


def test_mask_overlap_of_exactly_the_iou_is_a_match():
    one = case(strips("1111000"), strips("0011100"), (0.9,))  # 2 of 5
    assert match_case(one, MaskOverlap(iou=0.4)).hit.tolist() == [True]
    assert match_case(one, MaskOverlap(iou=0.41)).hit.tolist() == [False]


def test_masks_decide_where_boxes_would_say_otherwise():
    """Two L shapes in one another: the same box, and no voxel in common."""
    there, found = strips("1110", "1000", "1000"), strips("0000", "0110", "0110")
    one = case(there, found, (0.9,))
    assert match_case(one, BoxOverlap(iou=0.4)).hit.tolist() == [True]
    assert match_case(one, MaskOverlap(iou=0.01)).hit.tolist() == [False]


def test_region_swallows_by_the_share_of_the_detection_inside():
    """3 of 4 voxels lie in the ignored strip of 8: IoA .75, IoU 1/3."""
    one = case(strips("1111111100"), strips("0000022220"), (0.9,), ignore=(1,))
    assert match_case(one, MaskOverlap(iou=0.75)).swallowed.tolist() == [True]
    assert match_case(one, MaskOverlap(iou=0.76)).swallowed.tolist() == [False]


def test_panoptic_quality_by_hand():
    """Found with IoU 3/4 and 3/5; one of IoU exactly 1/2 is none; one object missed, one detection below the threshold.

    TP 2, FP 1, FN 2: PQ = (3/4 + 3/5) / (2 + 1/2 + 2/2) = 1.35 / 3.5.
    """
    there = strips("1111022222033044440")
    found = strips("1110022200030044440")
    metrics = evaluate([case(there, found, (0.9, 0.8, 0.7, 0.2))], CONFIG, ("cell",), "v", 0.5).metrics
    assert metrics["panoptic_quality"].value == pytest.approx(1.35 / 3.5)
    assert metrics["segmentation_quality"].value == pytest.approx(1.35 / 2)
    assert metrics["recognition_quality"].value == pytest.approx(2 / 3.5)
    assert metrics["mask_jaccard_0_50"].value == pytest.approx(3 / 4)  # at least 0.5: the half counts


def test_jaccard_index_per_scan_is_the_mean_of_scans_that_show_anything():
    """1 of 1 and 1 of 4: their mean is 5/8, of all objects together 2 of 5 are found. The empty scan is none."""
    scans = [
        case(strips("111000"), strips("111000"), (0.9,)),
        case(strips("1022033044"), strips("1000000000"), (0.9,)),
        case(strips("000"), strips("000"), ()),
    ]
    scans = [replace(one, case_id=name) for one, name in zip(scans, "abc", strict=True)]
    metrics = evaluate(scans, CONFIG, ("cell",), "v", 0.5).metrics
    assert metrics["mask_jaccard_per_scan_0_50"].value == pytest.approx(5 / 8)
    assert metrics["mask_jaccard_0_50"].value == pytest.approx(2 / 5)


def test_without_masks_there_is_no_panoptic_quality(scan):
    metrics = evaluate(
        [scan("a", [(1,)], [(1, 0.9)])], EvaluationConfig(match=BoxOverlap()), ("tumour",), "v", 0.5
    ).metrics
    assert not [name for name in metrics if "quality" in name or name.startswith("mask")]


def test_case_without_objects_and_detections_needs_no_masks(scan):
    cases = [case(strips("110"), strips("110"), (0.9,)), scan("b"), scan("c")]
    metrics = evaluate(cases, CONFIG, ("cell",), "v", 0.5).metrics
    assert metrics["panoptic_quality"].value == 1


def test_rule_that_needs_masks_says_whose_are_missing(scan):
    with pytest.raises(
        DatasetError, match="case a: match rule mask_overlap needs masks, and the annotations have none"
    ):
        match_case(scan("a", [(1,)], [(1, 0.9)]), MaskOverlap())


def test_masks_of_another_count_are_refused():
    one = case(strips("1100"), strips("1100"), (0.9,))
    wrong = ScoredCase(
        "a", "p", one.annotations, one.detections, {}, Masks.of_label_map(strips("1122")), one.detection_masks
    )
    with pytest.raises(DatasetError, match=r"1 annotations on a grid of .* came with 2 masks"):
        match_case(wrong, MaskOverlap())


def test_test_set_is_another_one_when_a_mask_changes():
    one, other = strips("1110", "1000"), strips("1110", "0010")  # the same box
    names = [
        evaluate([case(there, strips("1110", "0000"), (0.9,))], CONFIG, ("cell",), "v", 0.5).test_set
        for there in (one, one, other)
    ]
    assert names[0] == names[1] != names[2]


def test_ten_thousand_objects_in_one_field():
    number = np.arange(1, 10_001).reshape(100, 100)
    there = np.kron(number, np.pad(np.ones((5, 5), dtype=int), (0, 1)))
    found = np.roll(there, 1, axis=0)
    one = case(there, found, tuple(np.linspace(0.1, 0.9, 10_000)))
    for assignment in ("greedy", "optimal"):
        assert match_case(one, MaskOverlap(iou=0.6, assignment=assignment)).hit.all()
