"""Small made-up tasks with pictures, scored by the real evaluation."""

from pathlib import Path

import numpy as np

from pipeline.config import ExperimentConfig, load_experiment
from pipeline.detections import Detections
from pipeline.evaluation import Evaluation, ScoredCase, compare, evaluate
from pipeline.geometry import Boxes, Grid
from pipeline.reporting.explained import feature_picture
from pipeline.reporting.features import feature_maps
from pipeline.reporting.gallery import gallery
from pipeline.reporting.records import IngestReport, Page, ReportData, TaskReport
from pipeline.reporting.viewed import case_views
from pipeline.volumes import Annotations

EXPERIMENTS = Path(__file__).parents[2] / "configs" / "experiments"
VOLUME_GRID = Grid((72, 64, 24), np.diag([-0.9, -0.9, 2.5, 1.0]))
FIELD_GRID = Grid.of_pixels((160, 128))


def lesion_experiment() -> ExperimentConfig:
    return load_experiment(EXPERIMENTS / "demo_lesions_3d.yaml", ["evaluation.bootstrap_rounds=200"])


def cell_experiment() -> ExperimentConfig:
    return load_experiment(EXPERIMENTS / "demo_cells_2d.yaml", ["evaluation.bootstrap_rounds=200"])


def volume_image(annotations: Annotations, seed: int) -> np.ndarray:
    """CT-like voxels ``(1, i, j, k)`` in HU with bright balls where the annotations lie."""
    rng = np.random.default_rng(seed)
    grid = annotations.boxes.grid
    axes = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    centre = [(n - 1) / 2 for n in grid.shape]
    body = sum(((axes[a] - centre[a]) / (grid.shape[a] * 0.46)) ** 2 for a in (0, 1)) < 1
    values = np.where(body, -780.0, -1000.0) + rng.normal(0, 30, grid.shape)
    wall = sum(((axes[a] - centre[a]) / (grid.shape[a] * 0.38)) ** 2 for a in (0, 1)) > 1
    values[body & wall] += 820
    for middle, size in zip(annotations.boxes.centres, annotations.boxes.sizes, strict=True):
        inside = sum(((axes[a] - middle[a]) / (size[a] / 2)) ** 2 for a in range(grid.dims)) < 1
        values[inside] = 40 + rng.normal(0, 20, int(inside.sum()))
    return values.round().astype(np.int16)[None]


def field_image(annotations: Annotations, seed: int) -> np.ndarray:
    """H&E-like ``(3, i, j)`` uint8 with dark nuclei where the annotations lie."""
    rng = np.random.default_rng(seed)
    grid = annotations.boxes.grid
    image = np.array([228.0, 186.0, 208.0])[:, None, None] + rng.normal(0, 9, (3, *grid.shape))
    axes = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    for middle in annotations.boxes.centres:
        inside = sum(((axes[a] - middle[a]) / (4.2 + a)) ** 2 for a in (0, 1)) < 1
        image[:, inside] = np.array([96.0, 62.0, 140.0])[:, None] + rng.normal(0, 12, (3, int(inside.sum())))
    return np.clip(image, 0, 255).astype(np.uint8)


def annotated(grid: Grid, count: int, classes: tuple[str, ...], rng: np.random.Generator, points: bool) -> Annotations:
    room = np.array(grid.shape) * 0.22
    centres = rng.uniform(room, np.array(grid.shape) - 1 - room, (count, grid.dims))
    edge = np.full((count, 1), 14.0) if points else rng.uniform(4.0, 14.0, (count, 1))
    boxes = Boxes.around(centres, edge * np.ones(grid.dims) / (1.0 if points else grid.spacing), grid)
    labels = tuple(classes[index] for index in rng.integers(0, len(classes), count))
    ignore = np.zeros(count, dtype=bool)
    ignore[:1] = points
    return Annotations(boxes, labels, ignore, points)


def detected(annotations: Annotations, classes: tuple[str, ...], skill: float, rng: np.random.Generator) -> Detections:
    """Detections that find ``skill`` of the objects, and false ones."""
    boxes = annotations.boxes
    seen = rng.random(len(boxes)) < skill
    noise = rng.normal(0, 0.5, (int(seen.sum()), boxes.grid.dims))
    false = rng.poisson(max(1.0, (1 - skill) * len(boxes) * 0.8))
    elsewhere = rng.uniform(0, 1, (false, boxes.grid.dims)) * (np.array(boxes.grid.shape) - 1)
    centres = np.concatenate([boxes.centres[seen] + noise, elsewhere])
    sizes = np.concatenate([boxes.sizes[seen] * 1.1, np.full((false, boxes.grid.dims), 9.0) / boxes.grid.spacing])
    scores = np.concatenate([rng.beta(5, 2, int(seen.sum())), rng.beta(2, 4, false)])
    found = np.array([classes.index(label) for label in annotations.labels], dtype=np.int64)[seen]
    labels = np.concatenate([found, rng.integers(0, len(classes), false)])
    return Detections("volume", Boxes.around(centres, sizes, boxes.grid), scores, labels, classes)


def scored_cases(config: ExperimentConfig, skill: float, cases: int = 12, seed: int = 3) -> list[ScoredCase]:
    """The same annotations for every ``skill``; the first two scans have no object."""
    volume = config.data.dims == 3
    grid = VOLUME_GRID if volume else FIELD_GRID
    scored = []
    for index in range(cases):
        truth = np.random.default_rng((seed, index))
        count = 0 if index < 2 else int(truth.integers(1, 5) if volume else truth.integers(30, 60))
        annotations = annotated(grid, count, config.data.classes, truth, points=not volume)
        rng = np.random.default_rng((seed, index, round(skill * 100)))
        detections = detected(annotations, config.data.classes, skill, rng)
        scored.append(ScoredCase(f"{config.name[:3]}-{index:04x}", f"patient{index // 2}", annotations, detections))
    return scored


def evaluation_of(config: ExperimentConfig, cases: list[ScoredCase], version: str) -> Evaluation:
    return evaluate(cases, config.evaluation, config.data.classes, version, threshold=0.4)


def task_of(config: ExperimentConfig, skills: tuple[float, ...] = (0.6, 0.85)) -> TaskReport:
    versions = [scored_cases(config, skill) for skill in skills]
    evaluations = [
        evaluation_of(config, cases, f"{config.name}/{number}") for number, cases in enumerate(versions, start=1)
    ]
    last = {case.case_id: case for case in versions[-1]}
    picture = volume_image if config.data.dims == 3 else field_image

    def read(case_id: str) -> np.ndarray:
        return picture(last[case_id].annotations, seed=1)

    rng = np.random.default_rng(0)
    shape = (24, 20, 8) if config.data.dims == 3 else (24, 20)
    stages = {f"1/{2**level}": rng.normal(0, 1, (12, *(max(1, n >> level) for n in shape))) for level in range(4)}
    return TaskReport(
        name=config.name,
        evaluations=tuple(evaluations),
        comparisons=(compare(evaluations[0], evaluations[1], 200, 0),) if len(evaluations) == 2 else (),
        champion=evaluations[-1].version,
        config=config,
        pictures=gallery(versions[-1], read, config.evaluation.match, 0.4, intensity=config.preprocessing.intensity),
        views=case_views(versions[-1], read, config.evaluation.match, 0.4, intensity=config.preprocessing.intensity),
        pictured_version=evaluations[-1].version,
        explained=(feature_picture(feature_maps(stages, rng.normal(0, 1, (config.preprocessing.channels, *shape)))),),
        facts={"Training cases": "41 of 24 patients", "Training time": "4 min 12 s"},
    )


def whole_report() -> ReportData:
    return ReportData(
        title="Lesions and cells of the sample archive",
        created="22 November 2026, 14:05 UTC",
        tasks=(task_of(lesion_experiment()), task_of(cell_experiment())),
        ingest=IngestReport(
            {"ingested": 1312, "ignored": 9, "quarantined": 15},
            {
                "expected even slice positions, got a gap of 5.00 mm after slice 12 where 2.50 mm are usual; send the "
                "missing slice": 13,
                "not readable as DICOM: file ends after 1,024 of 73,728 bytes of pixel data": 2,
            },
            volumes=76,
        ),
        pages=(
            Page(
                "MLflow runs and model versions",
                how="mlflow ui --backend-store-uri sqlite:////home/me/.cellscan/mlflow.db",
            ),
            Page("Prefect flow runs", address="http://127.0.0.1:4200"),
        ),
        provenance={"Code": "commit fb6cf15", "cellscan": "0.1.0", "Catalog": "sqlite, 76 volumes"},
    )
