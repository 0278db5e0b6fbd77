"""Which version is the one to use."""

from dataclasses import asdict, dataclass

import pandas as pd

from pipeline.config import Policy
from pipeline.datasets.seen import Seen
from pipeline.detectors.bundle import Bundle
from pipeline.errors import CellscanError, DatasetError, ModelError, TrackingError
from pipeline.evaluation import Evaluation
from pipeline.evaluation.decision import Earlier, PolicyDecision, decide
from pipeline.progress import Progress
from pipeline.settings import Settings
from pipeline.stages.compare import compare_records, on_same_terms
from pipeline.stages.scoring import own_evaluation
from pipeline.tracking import registry
from pipeline.tracking.champions import ChampionMoved, Champions, champions, change_champion, refuse
from pipeline.tracking.history import Action, Change
from pipeline.tracking.run import TEST_SET_TAG


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

    It is judged against the champion, on a test set of which no patient may have shaped either: the one on which both
    were scored by the same match rule, or else the champion's, less the cases that shaped the challenger, by the
    champion's rule. Without a champion the last one that still exists counts; a very first version must find
    something. A version that was champion before and was replaced or rolled back comes back by
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
        return _already(challenger)
    asked = policy or Policy()
    decision = _judge(challenger, known, asked, settings, force, progress)
    reason = "; ".join(decision.reasons)
    if not decision.promoted and not force:
        return _not_promoted(challenger, reason, asked, settings)
    # The first version needs no force, and takes no note of it.
    forced = force and (known.current is not None or not decision.promoted)
    action: Action = "forced" if forced else "promoted"
    if forced:
        reason = f"forced; the policy {'holds' if decision.promoted else 'does not hold'}: {reason}"
    change = Change.now(action, challenger.version, known.current, reason, asked.title)
    try:
        change_champion(settings, known, change, asked)
    except ChampionMoved as error:
        return _not_promoted(challenger, str(error), asked, settings)
    return PromotionDecision(True, reason, challenger.version, known.current, asked.digest(), forced)


def _already(challenger: registry.VersionRecord) -> PromotionDecision:
    return PromotionDecision(True, "it is the champion already", challenger.version, challenger.version)


def _not_promoted(
    challenger: registry.VersionRecord, reason: str, policy: Policy, settings: Settings
) -> PromotionDecision:
    now = champions(settings, challenger.name).current
    if now == challenger.version:  # the same was asked for twice at once
        return _already(challenger)
    refuse(settings, challenger.name, challenger.version, f"not promoted: {reason}", policy)
    return PromotionDecision(False, reason, now, now, policy.digest())


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
        return _decide(challenger, known, policy, settings, progress)
    except CellscanError as error:
        # What is forced must not fail because it cannot be judged.
        if not force and not isinstance(error, DatasetError):
            raise
        return PolicyDecision(False, (f"it cannot be judged: {error}",))


def _decide(
    challenger: registry.VersionRecord,
    known: Champions,
    policy: Policy,
    settings: Settings,
    progress: Progress | None,
) -> PolicyDecision:
    own = own_evaluation(challenger, settings)
    against = _judged_against(known, settings)
    before = own if against is None else own_evaluation(against, settings)
    if on_same_terms(before, own):
        trained_on = tuple(
            told for one in (challenger, against) if one for told in _trained_on(one, challenger.spec, own.cases)
        )
        if trained_on:
            return PolicyDecision(False, trained_on)
    if against is None:
        return _with(decide(own, None, None, policy), _told_of_test_set(own, own, challenger, settings))
    on = compare_records(against, challenger, settings, progress, terms_of="first")
    earlier = _best_before(known, on.second, policy, settings)
    decision = decide(on.second, on.first, on.comparison, policy, earlier)
    told = [_told_of_test_set(on.second, before, challenger, settings)]
    if known.current is None:
        told.append(f"no version is the champion: {against.spec} is the last one that still exists")
    return _with(decision, *told)


def _with(decision: PolicyDecision, *told: str) -> PolicyDecision:
    return PolicyDecision(decision.promoted, (*decision.reasons, *told))


def _judged_against(known: Champions, settings: Settings) -> registry.VersionRecord | None:
    """The champion; where none holds the alias (it was deleted, or the alias was), the last one that still exists."""
    numbers: tuple[str, ...] = known.earlier if known.current is None else (known.current,)
    there = set(registry.versions(settings, known.name))
    last = next((number for number in numbers if number in there), None)
    return None if last is None else registry.resolve(settings, f"{known.name}/{last}")


def _told_of_test_set(
    judged: Evaluation, whole: Evaluation, challenger: registry.VersionRecord, settings: Settings
) -> str:
    """On what was judged, and after how many tries on it: the best of many looks better than it is.

    Args:
        judged: the challenger's figures on what was judged.
        whole: of the version whose own test set that is, or is part of.
        challenger: whose name's versions are counted; those that were deleted cannot be.
        settings: where they are.
    """
    judged_before = registry.versions(settings, challenger.name, {TEST_SET_TAG: whole.test_set})
    tries = len({*judged_before, challenger.version})
    told = f"judged on the test set of {whole.version} ({whole.test_set})"
    if judged.test_set != whole.test_set:
        told += (
            f", of which {judged.counts['patients']} of {whole.counts['patients']} patients shaped neither version "
            f"({judged.test_set})"
        )
    how_many = "the first version" if tries == 1 else f"one of {tries} versions"
    return f"{told}, {how_many} of {challenger.name} judged on it"


def _best_before(known: Champions, candidate: Evaluation, policy: Policy, settings: Settings) -> Earlier | None:
    """The best champion before the present one among those that were scored as the candidate was.

    One that was rolled back is none of them: a person decided against it.
    """
    figure = policy.primary.metric or candidate.primary
    found = []
    for number in sorted(set(known.earlier) - {known.current}, key=int):
        try:
            record = registry.resolve(settings, f"{known.name}/{number}")
            own = own_evaluation(record, settings)
        except (ModelError, TrackingError):  # deleted since
            continue
        if (own.test_set, own.match_rule) == (candidate.test_set, candidate.match_rule) and figure in own.metrics:
            found.append(Earlier(record.spec, own.metrics[figure].value))
    return max(found, key=lambda one: one.value, default=None)


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
