"""Rows of the catalog → the tables and lines that a user reads."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.sources.catalog.records import readable

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.sources.catalog.queries import ListedFile, ListedVolume
    from pipeline.sources.catalog.records import AnnotationRecord, VolumeRecord
    from pipeline.sources.catalog.stories import FileStory, VolumeStory
    from pipeline.stages.catalog import Verification

SHORT = 8  # digits of an id that a listing shows; any start of an id that only one volume has will do
_FEW = 10
_ON_DISK = {
    "unchanged": "the file has not changed since",
    "changed": "the file has changed since: ingest it again",
    "gone": "the file is not there any more: the next ingest of its archive takes it off the catalog",
}


def volume_table(volumes: "Iterable[ListedVolume]") -> "Table":
    table = _table("volume", "modality", "shape", "spacing", "part", "objects", "patient", "files")
    for column in ("objects", "files"):
        _column(table, column).justify = "right"
    for name in ("volume", "modality", "shape", "spacing", "patient"):
        _column(table, name).no_wrap = True
    for one in volumes:
        objects = "-" if one.objects is None else str(one.objects)
        table.add_row(
            one.volume_id[:SHORT],
            one.modality,
            shape_text(one),
            spacing_text(one),
            one.part,
            objects,
            one.patient_key[:SHORT],
            str(one.files),
        )
    return table


def file_table(files: "Iterable[ListedFile]") -> "Table":
    table = _table("outcome", "kind", "file", "reason")
    for name in ("outcome", "kind"):
        _column(table, name).no_wrap = True
    for name in ("file", "reason"):
        _column(table, name).overflow = "fold"
    for one in files:
        table.add_row(one.outcome, one.kind, readable(one.path), one.reason)
    return table


def file_lines(story: "FileStory") -> list[str]:
    """What happened to a file: what became of it, of what it became, and what became of it before."""
    lines = [readable(story.path)]
    file = story.file
    if file is not None:
        became = f"{file.outcome}: {file.reason}" if file.reason else file.outcome
        lines.append(f"  {became}")
        read = f"  read {time_text(story.recorded_at or 0)} as {file.kind}, {bytes_text(file.size)}"
        lines += [f"{read}; {_ON_DISK[story.on_disk or 'unchanged']}"]
        lines += _facts(("SHA-256", file.digest), ("series", file.series), ("instance", file.instance))
        verb = "annotates" if file.kind == "annotation" else "became"
        lines += _few(f"{verb} ", [_volume_text(one) for one in story.volumes])
    lines += _few("annotated by ", [_annotation_text(one, f"{readable(one.path)}: ") for one in story.annotated])
    lines += _few("gave ", [_annotation_text(one, f"volume {one.volume_id}: ") for one in story.annotates])
    if any(story.below.values()):
        lines.append(f"  files below it: {_counts(story.below)}")
    for one in reversed(story.past):
        why = f": {one.reason}" if one.reason else ""
        ended = "then it was gone" if one.gone else "then it was read anew"
        lines.append(f"  before: {one.outcome}{why} ({time_text(one.recorded_at)}; {ended}, {time_text(one.until)})")
    return lines


def volume_lines(story: "VolumeStory", name: str) -> list[str]:
    """What is known of a volume."""
    volume = story.volume
    lines = [
        f"{name}{f', {volume.part}' if volume.part else ''}",
        *_facts(
            ("volume", volume.volume_id),
            ("shape", f"{shape_text(volume)}, {volume.channels} channel{'s' if volume.channels != 1 else ''}"),
            ("spacing", spacing_text(volume)),
            ("patient", volume.patient_key),
            ("study", volume.study),
            ("series", volume.series),
            *sorted(volume.attributes.items()),
        ),
    ]
    if story.annotation is None:
        lines.append("  nobody annotated it")
    else:
        lines.append("  annotated by " + _annotation_text(story.annotation, f"{readable(story.annotation.path)}: "))
    for made in story.provenance:
        source = f", source {made.source[:16]}" if made.source else ""
        lines.append(f"  made {time_text(made.made_at)} by cellscan {made.version}, reader {made.reader}{source}")
    return [*lines, f"  read from {_number(len(story.files), 'file')}:", *_few("  ", map(readable, story.files))]


_ARCHIVES = 10


def overview_lines(found: dict[str, Any]) -> list[str]:
    modalities = ", ".join(f"{count} {name}" for name, count in found["modalities"].items()) or "none"
    objects = ", ".join(f"{count} {name}" for name, count in found["objects"].items()) or "none"
    lines = [
        f"files     {_counts(found['files'])}; {bytes_text(found['bytes'])}",
        f"volumes   {found['volumes']}: {modalities}",
        f"of        {_number(found['patients'], 'patient')}, {_number(found['studies'], 'stud', 'ies', 'y')}, "
        f"{found['series']} series",
        f"annotated {_number(found['annotated'], 'volume')}; objects: {objects}",
    ]
    latest = sorted(found["archives"], key=lambda one: one["last_at"], reverse=True)
    archives = [f"{readable(one['root'])}, last ingested {time_text(one['last_at'])}" for one in latest[:_ARCHIVES]]
    archives += [f"and {len(latest) - _ARCHIVES} more (--json names all)"] if len(latest) > _ARCHIVES else []
    return [*lines, *(f"archive   {text}" for text in archives)]


def verification_lines(found: "Verification") -> list[str]:
    lines = [
        f"{_number(found.whole, 'volume')} whole, {len(found.damaged)} damaged, {len(found.missing)} not in the store"
    ]
    lines += [f"  damaged: {volume_id}" for volume_id in found.damaged]
    lines += [f"  not in the store: {volume_id}" for volume_id in found.missing]
    if len(lines) > 1:
        lines.append("ingest their archives again: what is damaged or missing is then built anew")
    return lines


def shape_text(volume: "ListedVolume | VolumeRecord") -> str:
    return "x".join(str(n) for n in volume.shape)


def spacing_text(volume: "ListedVolume | VolumeRecord") -> str:
    """Three digits of each: ``0.703x0.703x2.5 mm``; of an image without a physical size nothing is known."""
    return "-" if volume.unit == "px" else f"{'x'.join(f'{one:.3g}' for one in volume.spacing)} {volume.unit}"


def bytes_text(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if value < 1000 or unit == "PB":
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def time_text(seconds: int) -> str:
    """Local time."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _table(*columns: str) -> "Table":
    from rich.table import Table

    return Table(*columns, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def _column(table: "Table", name: str) -> Any:
    return next(column for column in table.columns if column.header == name)


def _volume_text(volume: "VolumeRecord") -> str:
    part = f", {volume.part}" if volume.part else ""
    return f"{volume.volume_id} ({volume.modality} {shape_text(volume)}{part})"


def _annotation_text(one: "AnnotationRecord", where: str) -> str:
    labels = ", ".join(f"{count} {label}" for label, count in sorted(one.labels.items()))
    points = ", from points" if one.from_points else ""
    return f"{where}{_number(one.objects, 'object')}{f' ({labels})' if labels else ''}, {one.format}{points}"


def _facts(*pairs: tuple[str, str | None]) -> list[str]:
    return [f"  {name.replace('_', ' ')}: {value}" for name, value in pairs if value]


def _few(before: str, texts: Iterable[str]) -> list[str]:
    every = list(texts)
    more = [f"  {' ' * len(before)}… and {len(every) - _FEW} more (--json names all)"] if len(every) > _FEW else []
    return [*(f"  {before}{text}" for text in every[:_FEW]), *more]


def _counts(outcomes: dict[str, int]) -> str:
    return f"{sum(outcomes.values())}: " + ", ".join(f"{count} {name}" for name, count in outcomes.items())


def _number(count: int, thing: str, many: str = "s", one: str = "") -> str:
    return f"{count} {thing}{one if count == 1 else many}"
