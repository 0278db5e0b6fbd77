"""Among the pairs that a match rule allows: which are taken.

`greedy`: detections choose from the highest score down, each the best object that is still free. What a higher score
found never changes by what lower ones do. This is COCO's way, and LUNA16's.

`optimal`: at EVERY threshold as many objects are found as any pairing of the detections above it could find. A
detection finds something if, next to those of higher scores that do, there is still an object for it when they may
swap theirs. The sets of detections that can all be matched at once are the independent sets of a transversal matroid
(Edmonds & Fulkerson 1965), so taking them by score is best at each threshold at once, and one matching serves every
threshold. Among the pairings of the detections so found the one of least total cost is taken (linear assignment by
LAPJVsp, scipy's sparse form of Jonker & Volgenant 1987). TP, FP and FN at a threshold are those of StarDist's
matching. WHICH object a detection above the threshold finds may depend on detections below it, though, and so may
figures by class and size: versions compare by these only if they report down to the same score.
"""

from collections import deque

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.evaluation.pairs import Pairs

NOTHING = -1
# No pair: dearer than any path through allowed pairs, whose costs lie in 0 … 1.
_FORBIDDEN = 1e6
# Components up to this many pairs (detections x annotations) are solved as dense tables.
_DENSE = 4_000_000


def greedy(pairs: Pairs, detections: int, annotations: int) -> np.ndarray:
    """The annotation that each detection finds, ``(detections,)``, `NOTHING` (-1) where none.

    ``pairs`` come best first: by descending score, then by cost.
    """
    found = [NOTHING] * detections
    taken = [False] * annotations
    for detection, annotation in zip(pairs.detection.tolist(), pairs.annotation.tolist(), strict=True):
        if found[detection] == NOTHING and not taken[annotation]:
            found[detection] = annotation
            taken[annotation] = True
    return np.array(found, dtype=np.int64)


def optimal(pairs: Pairs, detections: int, annotations: int) -> np.ndarray:
    """As `greedy`, with the greatest number found at every threshold; ``pairs`` come in the same order."""
    found = np.full(detections, NOTHING, dtype=np.int64)
    hits = np.zeros(detections, dtype=bool)
    hits[_findable(pairs, detections, annotations)] = True
    kept = pairs[hits[pairs.detection]]
    for component in _components(kept, detections, annotations):
        rows, columns = _least_cost(component)
        found[rows] = columns
    return found


def _findable(pairs: Pairs, detections: int, annotations: int) -> list[int]:
    """The detections that find something: each in its turn, if those before it can make room.

    Breadth-first search for an augmenting path (Kuhn 1955). Objects that a failed search went through lead to no free
    object ever after, so they are closed and each pair is looked at about once.
    """
    objects_of: list[list[int]] = [[] for _ in range(detections)]
    for detection, annotation in zip(pairs.detection.tolist(), pairs.annotation.tolist(), strict=True):
        objects_of[detection].append(annotation)
    holder = [NOTHING] * annotations
    holds = [NOTHING] * detections
    closed = [False] * annotations
    for detection in dict.fromkeys(pairs.detection.tolist()):
        came_from: dict[int, int] = {}
        free = _free_object(detection, objects_of, holder, closed, came_from)
        if free == NOTHING:
            for annotation in came_from:
                closed[annotation] = True
        while free != NOTHING:
            taker = came_from[free]
            holder[free] = taker
            holds[taker], free = free, holds[taker]
    return [detection for detection, held in enumerate(holds) if held != NOTHING]


def _free_object(
    detection: int, objects_of: list[list[int]], holder: list[int], closed: list[bool], came_from: dict[int, int]
) -> int:
    queue = deque([detection])
    while queue:
        seeker = queue.popleft()
        for annotation in objects_of[seeker]:
            if closed[annotation] or annotation in came_from:
                continue
            came_from[annotation] = seeker
            if holder[annotation] == NOTHING:
                return annotation
            queue.append(holder[annotation])
    return NOTHING


def _components(pairs: Pairs, detections: int, annotations: int) -> list[Pairs]:
    """Pairs that have no detection and no annotation in common with the others."""
    if len(pairs.cost) == 0:
        return []
    size = detections + annotations
    links = coo_array((np.ones(len(pairs.cost)), (pairs.detection, pairs.annotation + detections)), shape=(size, size))
    component = connected_components(links, directed=False)[1][pairs.detection]
    order = np.argsort(component, kind="stable")
    borders = np.flatnonzero(np.diff(component[order])) + 1
    return [pairs[some] for some in np.split(order, borders)]


def _least_cost(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Detections and the annotations they find: every detection finds one, at the least total cost."""
    if len(pairs.cost) == 1:
        return pairs.detection, pairs.annotation
    detection, row = np.unique(pairs.detection, return_inverse=True)
    annotation, column = np.unique(pairs.annotation, return_inverse=True)
    spread = np.ptp(pairs.cost)
    cost = (pairs.cost - pairs.cost.min()) / (spread if spread > 0 else 1.0)
    shape = (len(detection), len(annotation))
    if shape[0] * shape[1] > _DENSE:
        return _least_cost_sparse(detection, annotation, coo_array((cost + 1.0, (row, column)), shape=shape))
    table = np.full(shape, _FORBIDDEN)
    table[row, column] = cost
    rows, columns = linear_sum_assignment(table)
    return detection[rows], annotation[columns]


def _least_cost_sparse(detection: np.ndarray, annotation: np.ndarray, cost: coo_array) -> tuple[np.ndarray, np.ndarray]:
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, columns = min_weight_full_bipartite_matching(cost.tocsr())
    return detection[rows], annotation[columns]
