"""Which of several versions belong together: to compare them, and to report on them."""

from collections.abc import Mapping, Sequence
from itertools import pairwise


def champions_in_order(decided: Sequence[str]) -> dict[str, str]:
    """``name/3`` after each promotion → name → the champion after the last."""
    return {version.partition("/")[0]: version for version in decided}


def pairs_to_compare(versions: Sequence[str], champions: Mapping[str, str]) -> list[tuple[str, str]]:
    """For each name, every two successive versions; a single one with the champion, if that is another."""
    pairs: list[tuple[str, str]] = []
    for name, own in _by_name(versions).items():
        if len(own) > 1:
            pairs.extend(pairwise(own))
        elif champions[name] != own[0]:
            pairs.append((champions[name], own[0]))
    return pairs


def report_targets(versions: Sequence[str], champions: Mapping[str, str]) -> list[str]:
    """One target a name: its last pair, or its only version."""
    last = {b.partition("/")[0]: f"{a}..{b}" for a, b in pairs_to_compare(versions, champions)}
    return [last.get(name, own[-1]) for name, own in _by_name(versions).items()]


def _by_name(versions: Sequence[str]) -> dict[str, list[str]]:
    """Versions of each name, in order, each once: an experiment that is unchanged gives the same version again."""
    names: dict[str, list[str]] = {}
    for version in dict.fromkeys(versions):
        names.setdefault(version.partition("/")[0], []).append(version)
    return names
