"""The grade of objects: its loss by hand, its way through the network into detections."""

import math

import numpy as np
import pytest
import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.samples import Objects
from pipeline.detectors.bundle import Bundle, seeded_network
from pipeline.detectors.detector import Candidates, View
from pipeline.detectors.grades import Answers, grade_loss
from pipeline.detectors.turns import UPRIGHT, Turn
from pipeline.geometry import Grid
from pipeline.inference.detect import VolumeDetector
from tests.experiments import tiny_2d, tiny_graded, tiny_star

NAN = float("nan")


def objects(grades: list[float], places: list[float] | None = None) -> Objects:
    middle = torch.tensor(places or [8.0 * n + 4 for n in range(len(grades))])[:, None].repeat(1, 2)
    count = len(grades)
    return Objects(
        middle - 3, middle + 3, torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.bool), None,
        torch.tensor(grades),
    )  # fmt: skip


def answers(where: list[int], owner: list[int]) -> Answers:
    return Answers(torch.tensor(where, dtype=torch.long), torch.tensor(owner, dtype=torch.long))


def test_loss_is_the_mean_over_objects_of_known_grade_by_hand():
    """Object 0 (grade 1) has logits 0 and log 3, object 1 (grade 0) log 3, object 2 is not known."""
    logits = torch.zeros(1, 2, 2)
    logits[0, 0, 1] = logits[0, 1, 0] = math.log(3)
    logits[0, 1, 1] = 50.0
    loss = grade_loss(logits, [objects([1.0, 0.0, NAN])], {0: answers([0, 1, 2, 3], [0, 0, 1, 2])})
    first = (math.log(2) + math.log(4 / 3)) / 2
    assert float(loss) == pytest.approx((first + math.log(4)) / 2)


def test_a_grade_between_is_least_costly_where_the_sigmoid_equals_it():
    logits = torch.linspace(-3, 3, 61)[:, None, None].requires_grad_()
    losses = [float(grade_loss(one[None], [objects([0.75])], {0: answers([0], [0])})) for one in logits.detach()]
    assert torch.sigmoid(logits[int(np.argmin(losses))]).item() == pytest.approx(0.75, abs=0.02)


def test_a_batch_without_a_known_grade_costs_nothing_and_has_a_gradient_of_zero():
    logits = torch.randn(2, 2, 2, requires_grad=True)
    loss = grade_loss(logits, [objects([NAN]), objects([])], {0: answers([1], [0])})
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_no_grade_no_loss_and_no_weights_besides_those_of_before():
    network = seeded_network(tiny_2d())
    graded = seeded_network(tiny_graded()).state_dict()
    assert all(torch.equal(value, graded[name]) for name, value in network.state_dict().items())
    assert {name.split(".")[0] for name in set(graded) - set(network.state_dict())} == {"grade"}
    assert network.loss(network(torch.zeros(1, 1, 32, 32)), [objects([])]).grade is None


@pytest.mark.parametrize("star", [False, True], ids=["box", "star"])
def test_the_network_learns_which_objects_are_graded_high(star):
    """Bright discs are graded 1, dim ones 0; the third is not known."""
    raw = (tiny_star() if star else tiny_2d()).model_dump()
    raw["data"]["grade"] = tiny_graded().data.grade.model_dump()
    torch.manual_seed(0)
    network = seeded_network(ExperimentConfig.model_validate(raw))
    image, instances = torch.full((1, 1, 32, 32), -1.0), torch.zeros(32, 32, dtype=torch.int32)
    for number, (place, value) in enumerate(((4, 1.0), (14, 0.0), (24, 0.5))):
        image[..., place - 3 : place + 4, place - 3 : place + 4] = value
        instances[place - 3 : place + 4, place - 3 : place + 4] = number + 1
    given = objects([1.0, 0.0, NAN], [4.0, 14.0, 24.0])
    batch = [Objects(given.lower, given.upper, given.labels, given.ignore, instances, given.grades)]
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(40):
        loss = network.loss(network(image), batch)
        losses.append(float(loss.grade.detach()))
        optimiser.zero_grad()
        (loss.score + loss.box + loss.grade).backward()
        optimiser.step()
    assert losses[-1] < 0.1 < losses[0]
    network.eval()
    with torch.no_grad():
        (found,) = network.candidates(network(image), [View((0, 0), (32, 32))], 0.05)
    grade = {
        int(place): float(found.grades[np.abs((found.lower + found.upper).numpy() / 2 - place).max(axis=1).argmin()])
        for place in (4, 14)
    }
    assert grade[4] > 0.8
    assert grade[14] < 0.2


def test_chosen_candidates_keep_their_grades():
    box = torch.tensor([[0.0, 0.0], [5.0, 5.0], [9.0, 9.0]])
    scores = torch.tensor([0.1, 0.2, 0.3])
    some = Candidates(box, box, box + 2, scores, torch.zeros(3, dtype=torch.long), None, scores + 0.5)
    kept = some[torch.tensor([True, False, True])]
    assert kept.grades.tolist() == pytest.approx([0.6, 0.8])
    assert kept.outlines is None


def test_grades_of_all_turns_are_averaged():
    network = seeded_network(tiny_graded()).eval()
    image, views = torch.rand(1, 1, 16, 24), [View((0, 0), (16, 24))]
    with torch.no_grad():
        (found,) = network.look(image, views, 0.001, [UPRIGHT, Turn(flips=(0,))])
        upright, turned = (torch.sigmoid(network(one).grade[0]) for one in (image, image.flip(2)))
    mean = (upright + turned.flip(0)) / 2
    at = ((found.at - 0.5) / torch.tensor(network.stride)).round().long()
    assert len(at) > 0
    assert torch.allclose(found.grades, mean[at[:, 0], at[:, 1]], atol=1e-6)


@pytest.mark.parametrize("config", [tiny_2d(), tiny_graded()], ids=["plain", "graded"])
def test_detections_of_several_windows_carry_grades_where_one_was_learnt(config, tmp_path):
    raw = config.model_dump()
    raw["inference"] |= {"window": [32, 32], "score_floor": 0.001}
    config = ExperimentConfig.model_validate(raw)
    Bundle(config, seeded_network(config), 0.5).save(tmp_path)
    image = np.random.default_rng(0).uniform(0, 160, (1, 60, 50))
    found = VolumeDetector(Bundle.load(tmp_path), "cpu").detect(image, Grid.of_pixels((60, 50)), "v")
    assert len(found) > 3
    assert found.grade_name == ("malignancy" if config.data.grade else "")
    assert found.grades is None if config.data.grade is None else ((found.grades > 0) & (found.grades < 1)).all()
