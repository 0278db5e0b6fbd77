"""What runs: one frozen model per stage, one YAML file per experiment; and by what a champion is chosen."""

from pipeline.config.experiment import ExperimentConfig
from pipeline.config.load import load_experiment, load_policy
from pipeline.config.policy import Policy

__all__ = ["ExperimentConfig", "Policy", "load_experiment", "load_policy"]
