"""Outlines are learnt from generated nuclei: from label maps on disk to masks that fit."""

import dataclasses

import torch

from pipeline.config import ExperimentConfig
from pipeline.datasets.split import split_cases
from pipeline.detectors.bundle import Bundle
from pipeline.evaluation import evaluate
from pipeline.inference.detect import VolumeDetector, score_cases
from pipeline.sample.field_part import write_fluorescence
from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.ingest import ingest
from pipeline.training.train import train
from tests.experiments import tiny_star


def generated_nuclei(settings: Settings):
    """Six fluorescence-like fields of the sample archive with their label maps, taken in as a user's would be."""
    archive = settings.home / "archive"
    (archive / "annotations" / "labels").mkdir(parents=True)
    for index in range(6):
        write_fluorescence(archive, 0, index)
    ingest(archive, settings)
    catalog = Catalog.of(settings)
    try:
        return catalog.volumes(archive)
    finally:
        catalog.close()


def nuclei_experiment() -> ExperimentConfig:
    raw = tiny_star(max_epochs=16, validate_every=16, learning_rate=8e-3).model_dump()
    raw["data"] |= {"classes": ["nucleus"], "merge_classes": True}
    raw["preprocessing"]["intensity"] = {"kind": "percentiles"}
    raw["sampling"] |= {"patch": [96, 96], "samples_per_epoch": 56}
    raw["inference"]["window"] = [256, 256]
    raw["evaluation"]["overlap_ious"] = [0.5, 0.7]
    return ExperimentConfig.model_validate(raw)


def test_outlines_of_generated_nuclei_are_learnt_within_a_minute(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    settings = dataclasses.replace(
        Settings.from_environment(), home=tmp_path, device="cpu", catalog_url=f"sqlite:///{tmp_path / 'catalog.db'}"
    )
    config = nuclei_experiment()
    try:
        split = split_cases(config.data, generated_nuclei(settings), 0)
        bundle = Bundle.load(train(config, split, tmp_path / "run", settings).bundle_folder)
        scored = score_cases(VolumeDetector(bundle, "cpu"), split.test)
    finally:
        torch.set_num_threads(before)
    found = evaluate(scored, config.evaluation, config.data.classes, "nuclei", bundle.threshold).metrics
    assert found["f1"].value > 0.5  # by masks with an IoU of 0.5
    assert found["mask_jaccard_0_50"].value > 0.33  # the same, as hits over hits, false and missed
    assert found["segmentation_quality"].value > 0.6
