"""Which version is the one to use."""

from dataclasses import asdict, dataclass

import pandas as pd

from pipeline.config import Policy
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle
from pipeline.errors import CellscanError, DatasetError
from pipeline.evaluation.decision import PolicyDecision, decide
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.compare import compare_versions, evaluations_on_common_cases
from pipeline.stages.scoring import own_evaluation
from pipeline.tracking import registry
from pipeline.tracking.champions import Action, ChampionMoved, Champions, Change, champions, change_champion, refuse


@dataclass(frozen=True)
class PromotionDecision:
    """``champion`` is the number of the version that holds ``@champion`` afterwards, ``previous`` that before.

    ``policy`` is the digest of what was asked for; empty where nothing was judged.
    """

    promoted: bool
    reason: str
    champion: str | None
    previous: str | None = None
    policy: str = ""
    forced: bool = False

    def to_json(self) -> dict[str, object]:
        return asdict(self)


def promote_version(
    name: str,
    version: str,
    settings: Settings,
    force: bool = False,
    progress: Progress | None = None,
    policy: Policy | None = None,
) -> PromotionDecision:
    """Make a version the champion if a policy allows it; either way the reason is kept on the version in MLflow.

    The first version becomes champion. A later one is judged against the champion on its own test set, of which no
    patient may have shaped either. One that was champion before and was replaced or rolled back comes back by
    `rollback_champion` or by force alone, so that no schedule undoes what a person decided.

    Args:
        name: the registered model.
        version: the challenger's number.
        settings: where things are.
        force: promote it although the policy does not hold; recorded, with what the policy says.
        progress: called while scans are detected on, where the two have no evaluation on the same test set yet.
        policy: what is asked for; by default `Policy()`.

    Raises:
        ModelError: there is no such version.
    """
    challenger = registry.resolve(settings, f"{name}/{version}")
    known = champions(settings, name)
    if known.current == challenger.version:
        return PromotionDecision(True, "it is the champion already", known.current, known.current)
    margin = Bundle.load(challenger.bundle_folder).config.evaluation.promotion_margin
    asked = (policy or Policy()).with_margin(margin)
    decision = _judge(challenger, known, asked, settings, force, progress)
    reason = "; ".join(decision.reasons)
    if not decision.promoted and not force:
        return _refuse(challenger, known.current, reason, asked, settings)
    # The first version needs no force, and takes no note of it.
    forced = force and (known.current is not None or not decision.promoted)
    action: Action = "forced" if forced else "promoted"
    if forced:
        reason = f"forced; the policy {'holds' if decision.promoted else 'does not hold'}: {reason}"
    change = Change.now(action, challenger.version, known.current, reason, asked.digest())
    try:
        change_champion(settings, known, change)
    except ChampionMoved as error:
        return _refuse(challenger, champions(settings, name).current, str(error), asked, settings)
    return PromotionDecision(True, reason, challenger.version, known.current, asked.digest(), forced)


def _refuse(
    challenger: registry.VersionRecord, champion: str | None, reason: str, policy: Policy, settings: Settings
) -> PromotionDecision:
    refuse(settings, challenger.name, challenger.version, f"not promoted: {reason}", policy.digest())
    return PromotionDecision(False, reason, champion, champion, policy.digest())


def _judge(
    challenger: registry.VersionRecord,
    known: Champions,
    policy: Policy,
    settings: Settings,
    force: bool,
    progress: Progress | None,
) -> PolicyDecision:
    replaced = known.replaced(challenger.version)
    if replaced is not None:
        return PolicyDecision(False, (_told_of(replaced, challenger),))
    try:
        return _decide(challenger, known.current, policy, settings, progress)
    except CellscanError as error:
        # What is forced must not fail because it cannot be judged.
        if not force and not isinstance(error, DatasetError):
            raise
        return PolicyDecision(False, (f"it cannot be judged: {error}",))


def _decide(
    challenger: registry.VersionRecord,
    champion: str | None,
    policy: Policy,
    settings: Settings,
    progress: Progress | None,
) -> PolicyDecision:
    own = own_evaluation(challenger, settings)
    holder = None if champion is None else registry.resolve(settings, f"{challenger.name}/{champion}")
    trained_on = tuple(
        told for record in (challenger, holder) if record for told in _trained_on(record, challenger.spec, own.cases)
    )
    if trained_on:
        return PolicyDecision(False, trained_on)
    if holder is None:
        return decide(own, None, None, policy)
    comparison = compare_versions(holder.spec, challenger.spec, settings, progress)
    before, after = evaluations_on_common_cases(holder, challenger, settings, progress)
    return decide(after, before, comparison, policy)


def _trained_on(record: registry.VersionRecord, owner: str, cases: pd.DataFrame) -> list[str]:
    """Why a test set cannot judge a version, if any patient or scan of it shaped the version."""
    seen = Bundle.load(record.bundle_folder).seen
    known = cases[_held_by(seen, cases)]
    if known.empty:
        return []
    return [
        f"the test set of {owner} was trained on: {known['patient_key'].nunique()} of its "
        f"{cases['patient_key'].nunique()} patients ({len(known)} of {len(cases)} cases) shaped {record.spec}"
    ]


def _held_by(seen: Seen, cases: pd.DataFrame) -> pd.Series:
    """Which cases of an evaluation's table a version has seen. A case id begins with its volume's id."""
    volumes = cases["case_id"].str.partition("-")[0]
    return cases["patient_key"].isin(seen.patients) | volumes.isin(seen.volumes)


def _told_of(replaced: Change, challenger: registry.VersionRecord) -> str:
    by = f"{challenger.name}/{replaced.version}" if replaced.version else "no version"
    how = "rolled back to" if replaced.action == "restored" else "replaced by"
    return f"{challenger.spec} was the champion before and was {how} {by} at {replaced.at}; --force promotes it again"
