"""Which scans a version has still to do, out of all that are there."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from pipeline.settings import Settings
from pipeline.sources.catalog import Catalog
from pipeline.sources.catalog.found_scans import FoundScan
from pipeline.stages.detect import suited, unsuited
from pipeline.stages.levels import nearest_levels
from pipeline.stages.watch_results import Made, Version

CLOSED = ("done", "quarantined")


@dataclass(frozen=True)
class Due:
    """Ids of scans that no version has done, and of those that another one has; ``unsuited``: id → reason."""

    fresh: tuple[str, ...]
    by_others: tuple[str, ...]
    unsuited: dict[str, str]


def due(scans: Sequence[FoundScan], made: Made, version: Version, suitable: "Suitable") -> Due:
    """What of ``scans`` the version has neither done nor quarantined, and reads."""
    open_ones = [scan for scan in scans if not _is_closed(made, version, scan)]
    series = {scan.series or scan.volume_id for scan in open_ones}
    members: dict[str, list[FoundScan]] = defaultdict(list)
    for scan in scans:
        if (name := scan.series or scan.volume_id) in series:
            members[name].append(scan)
    reasons = suitable.reasons(list(members.values()))
    wanted = [scan.volume_id for scan in open_ones if scan.volume_id not in reasons]
    by_others = {one for one in wanted if any(standing.state == "done" for standing in made.get(one, ()))}
    return Due(
        tuple(one for one in wanted if one not in by_others),
        tuple(one for one in wanted if one in by_others),
        {scan.volume_id: reasons[scan.volume_id] for scan in open_ones if scan.volume_id in reasons},
    )


class Suitable:
    """Why a version does not read a scan. Scans of one series are judged together, as `detect` does, and once."""

    def __init__(self, version: Version, settings: Settings) -> None:
        self._config, self._settings = version.bundle.config, settings
        self._judged: dict[tuple[str, ...], dict[str, str]] = {}

    def reasons(self, series: Sequence[Sequence[FoundScan]]) -> dict[str, str]:
        """Volume id → reason, of the scans in these series that the version does not read."""
        keys = {tuple(scan.volume_id for scan in scans): scans for scans in series}
        self._judge({key: scans for key, scans in keys.items() if key not in self._judged})
        return {one: reason for key in keys for one, reason in self._judged[key].items()}

    def _judge(self, series: dict[tuple[str, ...], Sequence[FoundScan]]) -> None:
        told = {
            scan.volume_id: unsuited(self._config.data, scan.dims, scan.modality)
            for scans in series.values()
            for scan in scans
        }
        # Only these need to be opened.
        with closing(Catalog.of(self._settings)) as catalog:
            volumes = catalog.volumes(ids=[one for one, reason in told.items() if not reason])
        fit, reasons = suited(self._config, volumes)
        fit, levels = nearest_levels(self._config, fit)
        reasons |= levels
        fitting = {volume.volume_id for volume in fit}
        told |= {one.volume_id: reasons[one.name] for one in volumes if one.volume_id not in fitting}
        for key in series:
            self._judged[key] = {one: told[one] for one in key if told[one]}


def _is_closed(made: Made, version: Version, scan: FoundScan) -> bool:
    states = [one.state for one in made.get(scan.volume_id, ()) if version.made(one)]
    return bool(states) and states[0] in CLOSED
