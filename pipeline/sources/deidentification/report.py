"""What was done, for those who get the files: counts, tags and keywords; no value, no name, no path of a source."""

import json
import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.sources.deidentification.ledger import FileResult, Ledger
from pipeline.sources.deidentification.options import DeidentifyOptions

FOLDER = "report"
_TAKEN = ("written", "copy")


@dataclass
class _Study:
    patients: set[str] = field(default_factory=set)
    series: set[str] = field(default_factory=set)
    files: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def write_report(out: Path, options: DeidentifyOptions, fingerprint: str, ledger: Ledger) -> None:
    """Write ``out/report``: ``<study>.json`` for each study, ``summary.json`` and ``summary.txt``."""
    studies, elsewhere = _gathered(ledger.results())
    folder = out / FOLDER
    for name, study in studies.items():
        _write(folder / f"{name}.json", json.dumps(_study_json(name, study, options, ledger), indent=1) + "\n")
    summary = {
        **_head(options),
        "key": fingerprint,
        "studies": len(studies),
        "series": sum(len(study.series) for study in studies.values()),
        "files": sum(study.files for study in studies.values()),
        "patients": len(set().union(*(study.patients for study in studies.values()))) if studies else 0,
        "flags": dict(sum((study.flags for study in studies.values()), Counter())),
        "not_copied": dict(sum((study.refused for study in studies.values()), Counter(elsewhere)).most_common()),
    }
    _write(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    _write(folder / "summary.txt", "\n".join(_lines(summary, studies, ledger)) + "\n")


def stated(out: Path) -> tuple[dict[str, Any], str] | None:
    """The options and the key's fingerprint of what is in ``out`` already."""
    try:
        summary = json.loads((out / FOLDER / "summary.json").read_text("utf-8"))
        return dict(summary["options"]), str(summary["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _gathered(results: Iterable[FileResult]) -> tuple[dict[str, _Study], Counter[str]]:
    """Studies by digest; reasons of files whose study is not known."""
    studies: dict[str, _Study] = defaultdict(_Study)
    elsewhere: Counter[str] = Counter()
    for one in results:
        if one.outcome not in _TAKEN:
            (studies[one.study].refused if one.study else elsewhere)[one.summary or one.reason] += 1
        elif one.outcome == "written":
            study = studies[one.study or "none"]
            study.files += 1
            study.series.add(one.series)
            study.patients |= {one.patient} - {""}
            study.flags.update(one.flags)
    return dict(sorted(studies.items())), elsewhere


def _head(options: DeidentifyOptions) -> dict[str, Any]:
    return {
        "profile": "Basic Application Level Confidentiality Profile",
        "options": options.to_json(),
        "codes": [f"DCM {code}" for code in options.codes],
    }


def _study_json(name: str, study: _Study, options: DeidentifyOptions, ledger: Ledger) -> dict[str, Any]:
    rows = sorted(ledger.counts(name).items())
    return {
        "study": name,
        "patients": sorted(study.patients),
        "series": len(study.series),
        "files": study.files,
        **_head(options),
        "attributes": [{"tag": tag, "keyword": word, "done": done, "count": n} for (tag, word, done), n in rows],
        "flags": dict(study.flags),
        "not_copied": dict(study.refused.most_common()),
    }


def _lines(summary: dict[str, Any], studies: dict[str, _Study], ledger: Ledger) -> list[str]:
    lines = [
        f"De-identified by the {summary['profile']} ({summary['options']['table']})",
        f"options: {', '.join(summary['codes'])}",
        f"{summary['files']} files of {summary['series']} series, {summary['studies']} studies, "
        f"{summary['patients']} patients",
    ]
    lines += [f"to look at: {count} files: {flag}" for flag, count in summary["flags"].items()]
    lines += [f"not copied: {count} files: {reason}" for reason, count in summary["not_copied"].items()]
    for name, study in studies.items():
        done: Counter[str] = Counter()
        for (_, _, what), count in ledger.counts(name).items():
            done[what] += count
        told = ", ".join(f"{count} {what}" for what, count in done.most_common())
        lines += ["", f"study {name}: {study.files} files; attributes: {told or 'none'}"]
    return lines


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    fresh.write_text(text, "utf-8")
    fresh.replace(path)
