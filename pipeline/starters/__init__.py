"""Models that come with cellscan: to detect with before anything was trained, and to start a training from.

A starter is a folder beside this file: a bundle (`pipeline.detectors.bundle`) with weights in half precision,
``starter.json`` and its model card, ``CARD.md``. Wherever a version is named, ``starter/<name>`` names one.
``python -m pipeline.cli.make_starter`` makes them from registered versions.
"""

from pipeline.starters.shelf import Starter, fitting, is_starter, starter, starters

__all__ = ["Starter", "fitting", "is_starter", "starter", "starters"]
