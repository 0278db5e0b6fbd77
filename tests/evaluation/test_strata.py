"""Parts of a test set."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from pipeline.config.evaluation import CentreDistance, EvaluationConfig
from pipeline.detections import Detections
from pipeline.evaluation import Evaluation, ScoredCase, compare, evaluate
from pipeline.evaluation.part import PART_FIGURES
from pipeline.evaluation.strata import Strata, size_levels
from pipeline.evaluation.uncertainty import patient_weights, patients_of
from pipeline.geometry import Boxes, Grid
from pipeline.volumes import UNLABELLED, Annotations

CLASSES = ("tumour", "other")
PIXELS = Grid.of_pixels((1000, 1000))


def sized_scan(case_id, objects=(), detections=(), patient=None, attributes=None, grid=PIXELS, from_points=False):
    """``objects``: (spot, edge, label); ``detections``: (spot, edge, score, label). Spot 3 lies at (0, 300)."""

    def boxes(items) -> Boxes:
        centres = np.zeros((len(items), grid.dims))
        centres[:, 1] = [100 * item[0] for item in items]
        edges = np.array([np.broadcast_to(item[1], grid.dims) for item in items], dtype=float)
        return Boxes.around(centres, edges.reshape(-1, grid.dims), grid)

    labels = np.array([CLASSES.index(item[3]) for item in detections], dtype=np.int64)
    scores = np.array([item[2] for item in detections], dtype=float)
    annotations = Annotations.of(boxes(objects), tuple(item[2] for item in objects), from_points)
    found = Detections(case_id, boxes(detections), scores, labels, CLASSES)
    return ScoredCase(case_id, patient or f"patient of {case_id}", annotations, found, attributes or {})


def limited(config: EvaluationConfig, *limits: float) -> EvaluationConfig:
    return config.model_copy(update={"size_limits": limits})


def random_scans(count=24, sites=3, patients=12):
    """Objects and detections of edges 4 to 16; every site has a share of the scans; some scans are empty."""
    scans = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        number = int(rng.integers(0, 7))
        objects = [(spot, float(rng.integers(4, 17)), str(rng.choice(CLASSES))) for spot in range(number)]
        found = [
            (spot, edge + float(rng.integers(0, 3)), round(float(rng.beta(4, 2)), 2), str(rng.choice(CLASSES)))
            for spot, edge, _ in objects
            if rng.random() < 0.7
        ]
        false = [
            (7 + spot, float(rng.integers(4, 17)), round(float(rng.beta(2, 4)), 2), str(rng.choice(CLASSES)))
            for spot in range(int(rng.integers(0, 4)))
        ]
        site = {"site": f"site {seed % sites}"} if seed % 7 else {}
        scans.append(sized_scan(f"{seed:02}", objects, found + false, f"p{seed % patients}", site))
    return scans


@pytest.fixture(scope="module")
def config():
    return EvaluationConfig(
        match=CentreDistance(distance=6.0), bootstrap_rounds=200, strata=("size", "class", "site", "modality")
    )


def test_what_counts_in_a_size_by_hand(config):
    """A found small one, a missed large one, a large detection on the small one, false ones of both sizes.

    The detection on the small object is large itself: it is a hit of the small, and nothing to the large.
    """
    scan = sized_scan(
        "a",
        [(0, 4, "tumour"), (1, 20, "tumour")],
        [(0, 30, 0.9, "tumour"), (5, 5, 0.8, "tumour"), (6, 25, 0.7, "tumour"), (7, 25, 0.2, "tumour")],
    )
    counts = evaluate([scan], limited(config, 10.0), CLASSES, "v", 0.5).strata_counts["size"]
    both = {"patients": 1, "patients_with_objects": 1, "cases": 1, "objects": 1, "false_positives": 1}
    assert counts["small"] == {**both, "hits": 1}
    assert counts["large"] == {**both, "hits": 0}


def test_figures_of_a_size_by_hand(config):
    """Small: 1 of 2 found with 1 false in 2 scans; the large hit and the large false one are nothing to them."""
    scans = [
        sized_scan("a", [(0, 4, "tumour"), (1, 20, "tumour")], [(0, 4, 0.9, "tumour"), (1, 20, 0.9, "tumour")]),
        sized_scan("b", [(0, 4, "tumour")], [(5, 4, 0.95, "tumour"), (6, 20, 0.8, "tumour")]),
    ]
    small = evaluate(scans, limited(config, 10.0), CLASSES, "v", 0.5).strata["size"]["small"]
    assert {name: one.value for name, one in small.items()} == pytest.approx(
        {
            "f1": 1 / 2,
            "precision": 1 / 2,
            "recall": 1 / 2,
            "count_error": 0,  # b has one object and one detection of this size
            "average_precision": 1 / 4,
            "cpm": 5 / 14,  # none below half a false one a scan, then one of two
            "sensitivity_at_0_25_fp": 0,
            "sensitivity_at_1_fp": 1 / 2,
        }
    )


@pytest.mark.parametrize("variable", ["size", "class"])
def test_levels_of_the_objects_add_up_to_the_whole(config, variable):
    evaluation = evaluate(random_scans(), config, CLASSES, "v", 0.4)
    levels = evaluation.strata_counts[variable].values()
    for name in ("objects", "hits", "false_positives"):
        assert sum(level[name] for level in levels) == evaluation.counts[name] > 0


def test_level_of_an_attribute_is_the_test_set_of_its_cases(config):
    scans = random_scans()
    evaluation = evaluate(scans, config, CLASSES, "v", 0.4)
    assert list(evaluation.strata["site"]) == ["site 0", "site 1", "site 2", "unknown"]
    for level, figures in evaluation.strata["site"].items():
        own = [scan for scan in scans if scan.attributes.get("site", "unknown") == level]
        alone = evaluate(own, config, CLASSES, "v", 0.4)
        assert evaluation.strata_counts["site"][level]["patients"] == alone.counts["patients"]
        for name, figure in figures.items():
            assert figure.value == pytest.approx(alone.metrics[name].value), (level, name)


def test_level_of_a_size_is_the_test_set_with_other_objects_ignored(config):
    """COCO's rule, applied to the scans themselves: other objects are ignored, other false detections removed."""
    scans = random_scans()
    wide = limited(config, 7.0, 11.0)
    strata = evaluate(scans, wide, CLASSES, "v", 0.4).strata["size"]
    for level, (low, up) in {"small": (0, 7), "medium": (7, 11), "large": (11, 99)}.items():
        alone = evaluate([only_sizes(scan, low, up) for scan in scans], config, CLASSES, "v", 0.4)
        for name in PART_FIGURES:
            assert strata[level][name].value == pytest.approx(alone.metrics[name].value), (level, name)


def only_sizes(scan: ScoredCase, low: float, up: float) -> ScoredCase:
    marks, found = scan.annotations, scan.detections
    edges = marks.boxes.sizes_world.max(axis=1, initial=0)
    own = found.boxes.sizes_world.max(axis=1, initial=0)
    on_an_object = np.isin(found.boxes.centres[:, 1], marks.boxes.centres[:, 1])
    keep = on_an_object | ((own > low) & (own <= up))
    kept = Detections(found.volume_id, found.boxes[keep], found.scores[keep], found.labels[keep], found.classes)
    ignored = Annotations(marks.boxes, marks.labels, ~((edges > low) & (edges <= up)))
    return dataclasses.replace(scan, annotations=ignored, detections=kept)


def test_weighting_a_case_is_the_same_as_repeating_it_in_every_stratum(config):
    scans = random_scans(12)
    whole = evaluate(scans, config, CLASSES, "v", 0.4)
    strata = Strata.of(whole.cases, whole.objects, config.strata, 0.4, whole.size_limits)
    weights = patient_weights(patients_of(whole.cases), rounds=4, seed=1)
    rounds = {(name, level): part.tally.figures(weights[:, part.cases]) for name, level, part in strata.each()}
    for index, row in enumerate(weights):
        drawn = [
            dataclasses.replace(scan, case_id=f"{scan.case_id} {again}")
            for scan, times in zip(scans, row, strict=True)
            for again in range(times)
        ]
        literal = evaluate(drawn, limited(config, *whole.size_limits), CLASSES, "v", 0.4)
        for (name, level), figures in rounds.items():
            drawn_level = literal.strata[name].get(level, {})  # a site that was not drawn is no level
            for metric, estimate in drawn_level.items():
                assert figures[metric][index] == pytest.approx(estimate.value, nan_ok=True), (name, level, metric)


def test_size_is_the_largest_edge_in_the_world_on_a_flipped_anisotropic_grid(config):
    """2 × 3 × 4 voxels of 1 × 2 × 0.5 mm: edges of 2, 6 and 2 mm."""
    affine = np.array([[0, -2.0, 0, 5], [-1.0, 0, 0, 7], [0, 0, 0.5, -3], [0, 0, 0, 1]])
    grid = Grid((50, 900, 50), affine)
    scan = sized_scan("a", [(1, (2, 3, 4), "tumour")], [(1, (8, 1, 2), 0.9, "tumour")], grid=grid)
    row = evaluate([scan], config, CLASSES, "v", 0.5).objects.iloc[0]
    assert (row["size_world"], row["annotation_size_world"]) == (8.0, 6.0)


def test_terciles_are_those_of_the_annotations_whatever_was_detected(config):
    """Sizes 4 … 12: a third up to 6, a third up to 9."""
    objects = [(spot, 4 + spot, "tumour") for spot in range(9)]
    for detections in ([], [(spot, 50, 0.9, "tumour") for spot in range(5)]):
        evaluation = evaluate([sized_scan("a", objects, detections)], config, CLASSES, "v", 0.5)
        assert evaluation.size_limits == (6.0, 9.0)
        assert evaluation.size_unit == "px"
        assert [level["objects"] for level in evaluation.strata_counts["size"].values()] == [3, 3, 3]


def test_size_at_a_limit_belongs_to_the_smaller_level(config):
    scan = sized_scan("a", [(0, 10, "tumour"), (1, 10.001, "tumour")])
    evaluation = evaluate([scan], limited(config, 10.0), CLASSES, "v", 0.5)
    assert [level["objects"] for level in evaluation.strata_counts["size"].values()] == [1, 1]


def test_objects_of_one_size_are_not_divided_by_it(config):
    scan = sized_scan("a", [(0, 10, "tumour"), (1, 10, "tumour")], [(0, 3, 0.9, "tumour"), (4, 30, 0.9, "tumour")])
    assert "size" not in evaluate([scan], config, CLASSES, "v", 0.5).strata


def test_there_is_no_size_where_only_points_were_annotated_or_units_are_mixed(config):
    points = sized_scan("a", [(0, 4, "tumour"), (1, 9, "tumour")], [(0, 3, 0.9, "tumour")], from_points=True)
    evaluation = evaluate([points], config, CLASSES, "v", 0.5)
    assert evaluation.objects["size_world"].isna().all()
    assert "size" not in evaluation.strata
    metric = Grid((1000, 1000), np.eye(3), "mm")
    mixed = [sized_scan("a", [(0, 4, "tumour")]), sized_scan("b", [(0, 9, "tumour")], grid=metric)]
    assert "size" not in evaluate(mixed, config, CLASSES, "v", 0.5).strata


@pytest.mark.parametrize(
    ("limits", "names"),
    [
        ((5,), ("small", "large")),
        ((5, 10), ("small", "medium", "large")),
        ((3, 6, 30), ("to 3", "3 to 6", "6 to 30", "above 30")),
    ],
)
def test_sizes_between_limits_have_names(limits, names):
    assert size_levels(limits) == names


def test_limits_that_do_not_rise_are_refused():
    with pytest.raises(ValueError, match=r"borders between sizes must rise, got \[10\.0, 5\.0\]"):
        EvaluationConfig(match=CentreDistance(distance=6.0), size_limits=(10, 5))


def test_class_of_a_false_detection_is_its_own_and_of_a_hit_the_objects(config):
    """The other was found under a wrong name: found all the same. The unlabelled one is in no class."""
    scan = sized_scan(
        "a",
        [(0, 5, "tumour"), (1, 5, "other"), (2, 5, UNLABELLED)],
        [(0, 5, 0.9, "tumour"), (1, 5, 0.9, "tumour"), (2, 5, 0.9, "other"), (6, 5, 0.9, "other")],
    )
    counts = evaluate([scan], config, CLASSES, "v", 0.5).strata_counts["class"]
    told = {level: (one["objects"], one["hits"], one["false_positives"]) for level, one in counts.items()}
    assert told == {"other": (1, 1, 1), "tumour": (1, 1, 0)}


def test_variable_that_does_not_divide_the_test_set_is_left_out(config):
    scans = [sized_scan(name, [(0, 5, "tumour")], attributes={"modality": "CT"}) for name in "ab"]
    assert evaluate(scans, config, CLASSES, "v", 0.5).strata == {}


def test_empty_level_is_normal_and_has_no_figure(config):
    scan = sized_scan("a", [(0, 5, "tumour")], [(0, 5, 0.9, "tumour")])
    evaluation = evaluate([scan], limited(config, 10.0), CLASSES, "v", 0.5)
    large = evaluation.strata["size"]["large"]
    assert evaluation.strata_counts["size"]["large"]["objects"] == 0
    assert all(math.isnan(large[name].value) for name in PART_FIGURES if name != "count_error")
    compared = compare(evaluation, evaluation, rounds=100, seed=0).strata["size"]["large"]
    assert math.isnan(compared.difference.value)
    assert math.isnan(compared.p)
    assert math.isnan(compared.p_adjusted)


def test_level_of_four_patients_has_no_interval_and_of_five_it_has(config):
    scans = [
        sized_scan(
            f"{index}", [(0, 5, "tumour")], [(0, 5, 0.9, "tumour")][: index % 2], attributes={"site": "ab"[index > 3]}
        )
        for index in range(9)
    ]
    strata = evaluate(scans, config, CLASSES, "v", 0.5).strata["site"]
    assert (strata["a"]["recall"].value, strata["b"]["recall"].value) == (0.5, 0.4)
    assert math.isnan(strata["a"]["recall"].lower)
    assert 0 <= strata["b"]["recall"].lower < 0.4 < strata["b"]["recall"].upper <= 1


def test_recall_on_the_objects_of_four_patients_has_no_interval_though_others_have_false_detections(config):
    held = [
        sized_scan(f"{index}", [(0, 20, "tumour"), (1, 5, "tumour")], [(0, 20, 0.9, "tumour")][: index % 2])
        for index in range(4)
    ]
    others = [
        sized_scan("b", [(0, 5, "tumour")], [(7, 20, 0.9, "tumour")]),
        sized_scan("c", [(0, 5, "tumour")], [(8, 21, 0.8, "tumour")]),
    ]
    large = evaluate(held + others, limited(config, 9.0), CLASSES, "v", 0.5).strata["size"]["large"]
    assert large["recall"].value == 0.5
    assert math.isnan(large["recall"].lower)
    assert 0 <= large["precision"].lower < large["precision"].upper <= 1


def test_strata_are_saved_and_loaded(config, tmp_path):
    evaluation = evaluate(random_scans(), config, CLASSES, "v", 0.4)
    evaluation.save(tmp_path)
    loaded = Evaluation.load(tmp_path)
    assert json.dumps(loaded.summary()) == json.dumps(evaluation.summary())
    assert loaded.size_limits == evaluation.size_limits
    assert loaded.strata["class"]["tumour"]["f1"] == evaluation.strata["class"]["tumour"]["f1"]
    pd.testing.assert_frame_equal(loaded.strata_rows(), evaluation.strata_rows())
    assert len(loaded.strata_rows()) == (3 + 2 + 4) * len(PART_FIGURES)


def test_folder_of_an_evaluation_without_strata_loads_and_compares(config, tmp_path):
    """What was written before there were strata: no such keys, no such columns."""
    new = evaluate(random_scans(), config, CLASSES, "new", 0.4)
    new.save(tmp_path)
    told = json.loads((tmp_path / "evaluation.json").read_text())
    for key in ("strata", "strata_counts", "size_limits", "size_unit"):
        del told[key]
    (tmp_path / "evaluation.json").write_text(json.dumps(told))
    new.objects.drop(columns=["size_world", "annotation_size_world"]).to_parquet(tmp_path / "objects.parquet")
    new.cases.drop(columns=["unit", "attribute_site"]).to_parquet(tmp_path / "cases.parquet")
    old = Evaluation.load(tmp_path)
    assert old.strata == {}
    assert old.size_limits == ()
    for a, b in ((old, new), (new, old)):
        assert list(compare(a, b, rounds=100, seed=0).strata) == ["class", "site"]
    assert compare(old, old, rounds=100, seed=0).strata == {}


def test_order_of_cases_and_rows_changes_no_stratum(config):
    scans = random_scans()
    one = evaluate(scans, config, CLASSES, "v", 0.4)
    other = evaluate([scans[n] for n in np.random.default_rng(0).permutation(len(scans))], config, CLASSES, "v", 0.4)
    assert json.dumps(one.summary()) == json.dumps(other.summary())
