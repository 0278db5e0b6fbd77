"""The record of what was detected, and its exports."""

from pipeline.detections.detection import Detections

__all__ = ["Detections"]
