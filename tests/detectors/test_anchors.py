"""Anchors and the share of them that answers for an object, worked by hand."""

import pytest
import torch

from pipeline.config.detector import Focal, HardNegatives
from pipeline.datasets.samples import Objects
from pipeline.detectors.anchor_losses import patch_loss, score_loss_of
from pipeline.detectors.anchors import BACKGROUND, IGNORED, Anchors, Matches, sides

ANCHORS = Anchors([(4, 8)], [(4, 4), (8, 8)], candidates=4)
GRIDS = [(8, 8), (4, 4)]


def objects(lower, upper, ignore=False) -> Objects:
    return Objects(
        torch.tensor([lower], dtype=torch.float32),
        torch.tensor([upper], dtype=torch.float32),
        torch.tensor([0]),
        torch.tensor([ignore]),
    )


def test_anchors_lie_about_the_middle_of_their_cell_and_double_from_level_to_level():
    finest, coarsest = ANCHORS.of(GRIDS, torch.device("cpu"))
    lower, upper = sides(torch.stack([finest[0], finest[9], coarsest[5]]))
    # Cells of 4 voxels: the first is voxels 0 … 3, its middle 1.5; cell (1, 1) has 5.5; of 8 voxels 11.5.
    assert ((lower + upper) / 2).tolist() == [[1.5, 1.5], [5.5, 5.5], [11.5, 11.5]]
    assert (upper - lower).tolist() == [[4, 8], [4, 8], [8, 16]]


def test_the_anchor_that_is_an_object_answers_for_it_and_far_ones_for_none():
    anchors = ANCHORS.of(GRIDS, torch.device("cpu"))
    lower, upper = sides(anchors[0][27:28])
    owner = ANCHORS.match(anchors, objects(lower[0].tolist(), upper[0].tolist()), (32, 32)).owner
    assert owner[27] == 0
    assert owner[0] == owner[63] == BACKGROUND


@pytest.mark.parametrize(
    "unasked", [objects([8, 8], [16, 16], ignore=True), objects([28, 8], [40, 16])], ids=["ignored", "centre outside"]
)
def test_anchors_at_an_object_that_is_not_asked_for_are_left_out(unasked):
    anchors = ANCHORS.of(GRIDS, torch.device("cpu"))
    matches = ANCHORS.match(anchors, unasked, (32, 32))
    assert not (matches.owner >= 0).any()
    middle = (torch.stack(sides(torch.cat(anchors)))).mean(dim=0)
    inside = ((middle >= unasked.lower) & (middle <= unasked.upper)).all(dim=1)
    assert inside.any()
    assert (matches.owner[inside] == IGNORED).all()
    assert matches.owner[0] == BACKGROUND


def test_a_patch_without_objects_has_background_only():
    none = Objects(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), torch.zeros(0).bool())
    assert (ANCHORS.match(ANCHORS.of(GRIDS, torch.device("cpu")), none, (32, 32)).owner == BACKGROUND).all()


BOX = torch.tensor([[0.0, 0.0, 10.0, 10.0]])


def losses(logits, owner, scores, box_loss="smooth_l1", deltas=0.0, label=0):
    anchors = BOX.repeat(len(owner), 1)
    moved = torch.zeros(len(owner), 4)
    moved[:, 0] = deltas
    return patch_loss(
        torch.tensor(logits), moved, anchors, Matches(torch.tensor(owner), BOX), torch.tensor([label]),
        score_loss_of(scores), box_loss,
    )  # fmt: skip


def test_focal_loss_is_that_of_the_paper_and_leaves_ignored_anchors_out():
    parts = losses([[0.0], [0.0], [7.0]], [0, BACKGROUND, IGNORED], Focal(alpha=0.25, gamma=2.0))
    # -ln(0.5) (1 - 0.5)² = 0.17329, a quarter of it for the object and three for the background.
    assert float(parts.score) == pytest.approx(0.17329, abs=1e-5)
    assert parts.score_count == 1


def test_hard_negatives_are_those_that_score_highest():
    few = HardNegatives(anchors=4, positive_share=0.5, pool=1.0, least_negatives=1)
    parts = losses([[0.0], [3.0], [-3.0], [-4.0]], [0, BACKGROUND, BACKGROUND, BACKGROUND], few)
    assert float(parts.score) == pytest.approx(0.69315 + 3.04859, abs=1e-4)  # ln 2, and ln(1 + e³)
    assert parts.score_count == 2


def test_a_box_off_by_half_its_edge_costs_what_is_worked_by_hand():
    # Smooth L1 of 0.5 with beta 1/9: 0.5 - 1/18, a quarter of it as the mean of four numbers.
    assert float(losses([[0.0]], [0], Focal(), deltas=0.5).box) == pytest.approx((0.5 - 1 / 18) / 4)
    # The boxes share 50 of 150, which is all of what encloses them: GIoU = 1/3.
    assert float(losses([[0.0]], [0], Focal(), "giou", deltas=0.5).box) == pytest.approx(2 / 3, abs=1e-4)


def test_of_an_object_without_a_class_a_score_is_asked_only_where_there_is_one_class():
    one = losses([[0.0]], [0], Focal(), label=-1)
    two = losses([[0.0, 0.0]], [0], Focal(), label=-1)
    assert (one.score_count, two.score_count) == (1, 0)
    assert float(two.score) == 0
