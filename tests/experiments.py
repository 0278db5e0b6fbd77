"""Experiments small enough to train in a test."""

from pipeline.config import ExperimentConfig


def tiny_2d(**training: object) -> ExperimentConfig:
    """Bright discs of 8 px on 64 px fields."""
    return ExperimentConfig.model_validate(
        {
            "name": "tiny_2d",
            "data": {"source": "phantoms", "dims": 2, "classes": ["cell"], "split": {"kind": "folds", "folds": 3}},
            "preprocessing": {"intensity": {"kind": "window", "lower": 0, "upper": 160}},
            "augmentation": {"flip": [0, 1]},
            "sampling": {"patch": [32, 32], "samples_per_epoch": 16},
            "detector": {
                "backbone": {"kind": "residual_unet", "widths": [8, 16, 16], "strides": [2, 2]},
                "decoder_width": 16,
                "output_level": 1,
            },
            "training": {"max_epochs": 6, "batch_size": 4, "learning_rate": 5e-3, "average_decay": 0.8, **training},
            "inference": {"window": [64, 64], "suppression_iou": 0.3},
            "evaluation": {"match": {"kind": "centre_distance", "distance": 3}, "bootstrap_rounds": 100},
        }
    )


def tiny_3d(**training: object) -> ExperimentConfig:
    """Bright balls in anisotropic, oblique volumes."""
    return ExperimentConfig.model_validate(
        {
            "name": "tiny_3d",
            "data": {"source": "phantoms", "dims": 3, "classes": ["lesion"], "split": {"kind": "folds", "folds": 3}},
            "preprocessing": {"spacing": [1.0, 1.0, 2.0], "intensity": {"kind": "window", "lower": 0, "upper": 1}},
            "sampling": {"patch": [16, 16, 8], "samples_per_epoch": 8},
            "detector": {
                "backbone": {"kind": "residual_unet", "widths": [8, 16], "strides": [[2, 2, 1]]},
                "decoder_width": 8,
            },
            "training": {"max_epochs": 2, "batch_size": 4, "average_decay": 0.5, **training},
            "inference": {"window": [32, 32, 16]},
            "evaluation": {"match": {"kind": "centre_in_lesion"}, "primary": "cpm", "bootstrap_rounds": 100},
        }
    )


def tiny_graded(**training: object) -> ExperimentConfig:
    """As `tiny_2d`, with a grade from the attribute ``diagnosis``."""
    raw = tiny_2d(**training).model_dump()
    values = {"benign": 0.0, "unclear": None, "malignant": 1.0}
    raw["data"]["grade"] = {"name": "malignancy", "attribute": "diagnosis", "values": values}
    return ExperimentConfig.model_validate(raw)


def tiny_star(**training: object) -> ExperimentConfig:
    """As `tiny_2d`, with star-convex outlines that are matched by their masks."""
    raw = tiny_2d(**training).model_dump()
    raw["detector"]["outline"] = {"kind": "star"}
    raw["evaluation"]["match"] = {"kind": "mask_overlap", "iou": 0.5}
    return ExperimentConfig.model_validate(raw)
