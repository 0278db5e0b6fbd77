"""Our outlines of nuclei against StarDist's package at equal wall time: same fields, same split, same evaluation.

    STARDIST_PYTHON=/tmp/stardist/bin/python python benchmarks/stardist_peer.py [--minutes 30] [--ours NAME/1]

STARDIST_PYTHON is a Python of its own with ``pip install stardist tensorflow-cpu`` (2 GB, so not among ours); without
it this is skipped. StarDist is trained as its authors' example for this set does it: 32 rays, grid 2, patches of
256 x 256 in batches of 4, Adam with 3e-4, lower where the validation loss stays (for a tenth of the epochs: 40 of 400
in the example), flips, quarter turns, gain 0.6 to 2 with an offset, noise; percentiles 1 and 99.8 of each field; its
own choice of thresholds on the validation fields. Both are timed for an epoch or some steps and trained for as many as
fill the minutes. Our version lies in CELLSCAN_HOME. Figures are of the test fields, differences paired by look.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

EXPERIMENT = "dsb_nuclei_2d"
FIGURES = ("f1", *(f"mask_jaccard_per_scan_0_{n}0" for n in (5, 6, 7, 8, 9)))
EPOCH_STEPS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--ours", help="a version that is there, instead of one that is trained for as long")
    parser.add_argument("--work", type=Path, help="the folder of StarDist's own process, which is given this")
    asked = parser.parse_args()
    if asked.work:
        stardist_side(asked.work, asked.minutes)
    elif "STARDIST_PYTHON" not in os.environ:
        print("skipped: STARDIST_PYTHON names no Python with stardist and tensorflow")
    else:
        our_side(Path(os.environ["STARDIST_PYTHON"]), asked.minutes, asked.ours)


def our_side(python: Path, minutes: float, version: str | None) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from peers import CONFIGS, trained

    from pipeline.config import load_experiment
    from pipeline.evaluation import evaluate
    from pipeline.evaluation.compare import compare
    from pipeline.settings import Settings
    from pipeline.stages.experiment import experiment_data
    from pipeline.stages.scoring import own_evaluation
    from pipeline.tracking.registry import resolve

    settings = Settings.from_environment()
    config = load_experiment(CONFIGS / f"{EXPERIMENT}.yaml")
    split = experiment_data(config, settings).split
    with tempfile.TemporaryDirectory(prefix="cellscan-stardist-") as name:
        work = Path(name)
        for side, cases in split.sides().items():
            written(work / side, cases)
        done = subprocess.run(
            [python, __file__, "--work", work, "--minutes", str(minutes)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"StarDist's own process: {done.stderr[-2000:]}")
        scored = [outcome(case, work / "found" / f"{n}.npz") for n, case in enumerate(split.test)]
        told = json.loads((work / "told.json").read_text())
    if version is None:
        version = trained(EXPERIMENT, minutes, settings).spec
    ours = own_evaluation(resolve(settings, version), settings)
    theirs = evaluate(scored, config.evaluation, config.data.classes, "StarDist", 0.0)
    compared = compare(theirs, ours, config.evaluation.bootstrap_rounds, config.seed)
    print(f"StarDist: {told['steps']} steps in {told['minutes']:.1f} min; ours: {version}")
    print("| figure | StarDist | ours | ours less StarDist's [95 %], p |")
    print("|---|---|---|---|")
    for figure in FIGURES:
        values = theirs.metrics[figure], ours.metrics[figure]
        difference = f"{compared.differences[figure]}, p {compared.p_values[figure]:.3f}"
        print(f"| {figure} | {' | '.join(map(str, values))} | {difference} |")


def written(folder: Path, cases: Any) -> None:
    folder.mkdir()
    for n, case in enumerate(cases):
        image, labels = case.array[...][0].astype(np.float32), case.instances.whole
        np.savez(folder / f"{n}.npz", image=image, labels=labels)


def outcome(case: Any, path: Path) -> Any:
    """StarDist's label map and scores as a scored case."""
    from pipeline.detections import Detections
    from pipeline.evaluation import ScoredCase
    from pipeline.evaluation.masks import Masks
    from pipeline.geometry import Boxes

    with np.load(path) as found:
        labels, scores = found["labels"], found["scores"]
    seen = np.unique(labels[labels > 0])  # an object that others cover wholly has no pixel
    order = np.argsort(-scores[seen - 1], kind="stable")
    boxes = Boxes.from_label_map(labels, case.grid)[0][order]
    names = (case.annotations.labels[0] if len(case.annotations) else "nucleus",)
    detections = Detections(
        case.volume.volume_id, boxes, scores[seen - 1][order], np.zeros(len(seen), dtype=int), names
    )
    there = Masks.of_label_map(case.instances.whole, np.arange(len(case.annotations)) + 1)
    attributes = {"modality": case.volume.modality, **case.volume.attributes}
    masks = Masks.of_label_map(labels, seen[order])
    return ScoredCase(case.case_id, case.patient_key, case.annotations, detections, attributes, there, masks)


def stardist_side(work: Path, minutes: float) -> None:
    """In StarDist's own Python: train on ``train``, choose on ``validation``, detect on ``test``."""
    from csbdeep.utils import normalize
    from stardist.models import Config2D, StarDist2D

    images, labels = {}, {}
    for side in ("train", "validation", "test"):
        files = sorted((work / side).glob("*.npz"), key=lambda path: int(path.stem))
        loaded = [np.load(path) for path in files]
        images[side] = [normalize(one["image"], 1, 99.8) for one in loaded]
        labels[side] = [one["labels"] for one in loaded]

    def model(epochs: int) -> StarDist2D:
        config = Config2D(
            n_rays=32,
            grid=(2, 2),
            train_epochs=epochs,
            train_steps_per_epoch=EPOCH_STEPS,
            train_patch_size=(256, 256),
            train_batch_size=4,
            train_reduce_lr={"factor": 0.5, "patience": max(epochs // 10, 1), "min_delta": 0},
            train_tensorboard=False,
        )
        return StarDist2D(config, name="peer", basedir=str(work))

    large = [n for n, image in enumerate(images["train"]) if min(image.shape) >= 256]
    train = [images["train"][n] for n in large], [labels["train"][n] for n in large]
    few = [n for n, image in enumerate(images["validation"]) if min(image.shape) >= 256]
    validation = [images["validation"][n] for n in few], [labels["validation"][n] for n in few]
    timed = model(2)
    times = [time.perf_counter()]
    timed.prepare_for_training()
    timed.callbacks.append(_told_epochs(times))
    timed.train(*train, validation, augmenter=Varied(), seed=0)
    epochs = max(round(minutes * 60 / (times[-1] - times[-2])), 1)
    network = model(epochs)
    began = time.perf_counter()
    network.train(*train, validation, augmenter=Varied(), seed=0)
    told = {"steps": epochs * EPOCH_STEPS, "minutes": (time.perf_counter() - began) / 60}
    network.optimize_thresholds(images["validation"], labels["validation"])
    (work / "found").mkdir()
    for n, image in enumerate(images["test"]):
        found, details = network.predict_instances(image)
        np.savez(work / "found" / f"{n}.npz", labels=found, scores=np.asarray(details["prob"]))
    (work / "told.json").write_text(json.dumps(told))


def _told_epochs(times: list[float]) -> Any:
    from tensorflow.keras.callbacks import LambdaCallback

    return LambdaCallback(on_epoch_end=lambda *_: times.append(time.perf_counter()))


class Varied:
    """Flips, quarter turns, gain, offset and noise, with the strengths of the package's example."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def __call__(self, image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        random, turns = self._random, self._random.integers(4)
        image, labels = np.rot90(image, turns), np.rot90(labels, turns)
        if random.random() < 0.5:
            image, labels = image[::-1], labels[::-1]
        image = image * random.uniform(0.6, 2) + random.uniform(-0.2, 0.2)
        return image + 0.02 * random.random() * random.normal(size=image.shape), labels


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
