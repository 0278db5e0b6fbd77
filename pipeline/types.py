"""The array vocabulary: one alias for each kind of array that crosses a module.

``d`` is the number of spatial axes (2 or 3), ``n`` the number of objects. Spatial arrays are
``(channel, i, j[, k])`` with ``i`` along columns (x), ``j`` along rows (y) and ``k`` along slices, as in
nibabel and MONAI.
"""

import numpy as np
from jaxtyping import Float, Int, Num

Affine = Float[np.ndarray, "h h"]  # homogeneous: h = d + 1
Points = Float[np.ndarray, "n d"]
Edges = Float[np.ndarray, "d"]
Corners = Float[np.ndarray, "n corners d"]
Scores = Float[np.ndarray, "n"]
LabelIndices = Int[np.ndarray, "n"]
Image = Num[np.ndarray, "channel *space"]
LabelMap = Int[np.ndarray, "*space"]
