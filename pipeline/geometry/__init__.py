"""Where things are: grids, boxes and the frames between them. One frame inside: RAS millimetres."""

from pipeline.geometry.boxes import Boxes
from pipeline.geometry.grid import Grid

__all__ = ["Boxes", "Grid"]
