"""Volumes on their grid, their annotations, and the store that keeps them."""

from pipeline.volumes.volume import UNLABELLED, Annotations, Volume

__all__ = ["UNLABELLED", "Annotations", "Volume"]
