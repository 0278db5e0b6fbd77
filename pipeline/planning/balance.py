"""Several classes: how often each is shown, and how much it weighs."""

from collections.abc import Mapping

from pipeline.planning.choice import Choice, number

# A class with a third of the objects of the commonest one is seen often enough as it is.
_RARE = 3.0
_BALANCED = 0.5
_TELLING_APART = 2.0


def sampling(classes: Mapping[str, int]) -> list[Choice]:
    """``sampling.class_balance``, where a class is rare; ``classes`` are the counts of each."""
    if not _is_rare(classes):
        return []
    reason = f"{_told(classes)}: half of the patches near an object are near one of a class drawn evenly"
    return [Choice("sampling.class_balance", _BALANCED, reason)]


def weighting(classes: Mapping[str, int]) -> list[Choice]:
    """``training.class_weight``, where there are several, and ``class_weighting``, where one is rare."""
    if len(classes) < 2:
        return []
    told = f"{len(classes)} classes are harder to tell apart than to find: the weight tuned on CRCHistoPhenotypes"
    weight = Choice("training.class_weight", _TELLING_APART, told)
    if not _is_rare(classes):
        return [weight]
    reason = f"{_told(classes)}: each weighs by one over the square root of its count, short of evening them out"
    return [weight, Choice("training.class_weighting", "inverse_sqrt", reason)]


def _is_rare(classes: Mapping[str, int]) -> bool:
    counts = classes.values()
    return len(classes) > 1 and max(counts) > _RARE * min(counts)


def _told(classes: Mapping[str, int]) -> str:
    rare, common = min(classes, key=classes.__getitem__), max(classes, key=classes.__getitem__)
    ratio = number(classes[common] / classes[rare])
    return f"{common} has {ratio} times as many objects as {rare} (over {number(_RARE)})"
