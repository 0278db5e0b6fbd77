"""Where a slide shows nothing but glass: most of many slides, and the network need not see it.

Glass is what pixels in bright, grey squares of the slide most often are, give or take 8 of 255 in each channel. A
window is left out where EVERY pixel of it lies so near to that: an overview in which a small cell is averaged away or
stepped over does not decide. Nor is that enough to say that the network finds nothing there: it is asked for each slide
with windows in the colour of its glass, and noise with all the contrast that is left (see
`pipeline.inference.background`). If it gives a single candidate that scores two thirds of what a detection needs, all
of the slide is looked at. Less than that is given up where glass is left out; no detection is.

The field tells tissue from glass by a threshold of saturation or brightness on an overview, such as Otsu's (CLAM,
https://doi.org/10.1038/s41551-020-00682-w): that leaves out more, and also what is pale or small.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.detectors.detector import Candidates
from pipeline.inference.lattice import sampled
from pipeline.volumes.arrays import Voxels

# Pixels that may be glass: bright, and as good as grey. So large a share of the sample must be glass.
_DARKEST, _MOST_COLOUR, _SHARE = 190, 30, 0.005
_REACH = 8


@dataclass(frozen=True, eq=False)
class Glass:
    """Values between ``low`` and ``high``, both ``(3,)`` and inclusive, are glass; windows of it show ``nothing``."""

    low: np.ndarray
    high: np.ndarray
    nothing: Candidates

    def covers(self, image: np.ndarray) -> np.ndarray:
        """Bool ``(i, j)``: which pixels of ``(3, i, j)`` are glass."""
        low, high = (side[:, None, None] for side in (self.low, self.high))
        return np.asarray(((image >= low) & (image <= high)).all(axis=0))


def glass_range(image: Voxels) -> tuple[np.ndarray, np.ndarray] | None:
    """Lowest and highest values ``(3,)`` of the glass of an 8-bit RGB picture ``(3, i, j)``; `None` where there is none
    to speak of."""
    pixels = sampled(image)
    lowest, highest = pixels.min(axis=0), pixels.max(axis=0)
    bright = pixels[:, (lowest >= _DARKEST) & (highest - lowest <= _MOST_COLOUR)]
    if bright.shape[1] < _SHARE * pixels.shape[1]:
        return None
    colour = np.array([np.bincount(channel, minlength=256).argmax() for channel in bright])
    low, high = np.maximum(colour - _REACH, 0), np.minimum(colour + _REACH, 255)
    return low.astype(np.uint8), high.astype(np.uint8)
