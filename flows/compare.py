"""Two versions on the same cases, and which of them is to be used."""

from pathlib import Path

from prefect import flow

from flows.artifacts import show_comparison
from flows.events import tell_champion
from flows.parameters import Registered, Version
from flows.retry import tracked_stage
from flows.surroundings import progress
from pipeline.errors import ModelError
from pipeline.settings import Settings


@tracked_stage("compare")
def _compare(a: Version, b: Version) -> dict[str, float]:
    from pipeline.stages.compare import compare_versions

    comparison = compare_versions(a, b, Settings.from_environment(), progress())
    show_comparison(comparison)
    return {name: estimate.value for name, estimate in comparison.differences.items()}


@tracked_stage("promote")
def _promote(version: Registered, force: bool, policy: Path | None) -> str:
    from pipeline.config import load_policy
    from pipeline.stages.promote import promote_version
    from pipeline.stages.versions import parse_version

    name, number = parse_version(version)
    asked = load_policy(policy) if policy else None
    decision = promote_version(name, number, Settings.from_environment(), force, progress(), asked)
    tell_champion(name, decision)
    if decision.champion is None:
        raise ModelError(f"{version} was not promoted, and {name} has no champion: {decision.reason}")
    return f"{name}/{decision.champion}"


@flow(name="compare")
def compare(a: Version, b: Version) -> dict[str, float]:
    """Version B against version A, paired by patient.

    Returns:
        Differences B − A.
    """
    return _compare(a, b)


@flow(name="promote")
def promote(version: Registered, force: bool = False, policy: Path | None = None) -> str:
    """Make a version the champion if a policy holds against the present one.

    Args:
        version: the challenger.
        force: although the policy does not hold.
        policy: YAML file of what is asked for; by default, not worse and no class lost.

    Returns:
        The champion, as ``name/3``.
    """
    return _promote(version, force, policy)
