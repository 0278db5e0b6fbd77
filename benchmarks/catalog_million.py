"""What a catalog of 1,000,000 files answers with, and whether it takes new files as fast as an empty one.

    python benchmarks/catalog_million.py [--files 1000000] [--postgresql URL]

The catalog is simulated: 5,000 patients, 20,000 series of 50 files, 100,000 volumes. Each listing is a first page of 50
rows, in milliseconds: the first time, and the median of five. The peer is the same table as a Parquet file, read with
pyarrow's filters. Without --postgresql that back end is skipped.
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from pipeline.sources.catalog import AnnotationRecord, Catalog, FileRecord, VolumeRecord
from pipeline.sources.catalog.export import export_table
from pipeline.sources.catalog.queries import FileFilter, VolumeFilter, list_files, list_volumes
from pipeline.sources.catalog.stories import file_story

FILES_A_SERIES, VOLUMES_A_SERIES, SERIES_A_PATIENT = 50, 5, 4
NEW_FILES = 1000
TWENTY_THOUSAND = 20_000
REPEATS = 5
Rows = tuple[list[FileRecord], list[VolumeRecord], list[AnnotationRecord]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--postgresql", metavar="URL", help="an empty database")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure("SQLite", f"sqlite:///{folder}/catalog.db", f"sqlite:///{folder}/empty.db", given.files, Path(folder))
    if given.postgresql is None:
        print("PostgreSQL: skipped (--postgresql URL of an empty database)")
    else:
        measure("PostgreSQL", given.postgresql, None, given.files, None)


def measure(name: str, url: str, empty_url: str | None, files: int, folder: Path | None) -> None:
    catalog = Catalog(url)
    in_empty = seconds_for_new_files(Catalog(empty_url) if empty_url else catalog)
    began = time.perf_counter()
    fill(catalog, files)
    print(f"{name}: {files} files in {time.perf_counter() - began:.0f} s")
    worst = max(tell(what, ask) for what, ask in questions(catalog).items())
    print(f"  slowest median: {worst:.1f} ms (goal: under 100)")
    in_full = seconds_for_new_files(catalog)
    print(
        f"  {NEW_FILES} new files: {in_full * 1e3:.0f} ms, {in_full / in_empty:.2f} times what an empty catalog takes"
    )
    tell(f"records of a folder of {TWENTY_THOUSAND} files", lambda: catalog.records(Path("/archive/twenty thousand")))
    if folder is not None:
        against_parquet(catalog, folder / "files.parquet")
    catalog.close()


def questions(catalog: Catalog) -> dict[str, Callable[[], Any]]:
    """What is asked, by its name in the output."""
    first = next(series(0))[0][7].path
    volumes = {
        "all": VolumeFilter(),
        "of a modality": VolumeFilter(modality="CT"),
        "of a rare modality": VolumeFilter(modality="XA"),
        "annotated": VolumeFilter(annotated=True),
        "not annotated": VolumeFilter(annotated=False),
        "with a label": VolumeFilter(label="lesion"),
        "of the whole archive": VolumeFilter(root=Path("/archive")),
        "of a part of it": VolumeFilter(root=Path("/archive/site3")),
        "of a phase": VolumeFilter(part="phase 3"),
    }
    files = {
        "all": FileFilter(),
        "quarantined": FileFilter(outcome="quarantined"),
        "quarantined below a folder": FileFilter(outcome="quarantined", root=Path("/archive/site6")),
        "by how the reason begins": FileFilter(reason="3 slice"),
        "below a folder": FileFilter(root=Path("/archive/site3")),
        "by a part of the path": FileFilter(contains="patient04"),
        "by a part that no path has": FileFilter(contains="no such part"),
    }
    return {
        **{f"volumes {name}": lambda f=f: list_volumes(catalog, f) for name, f in volumes.items()},
        **{f"files {name}": lambda f=f: list_files(catalog, f) for name, f in files.items()},
        "counts by outcome": catalog.summary,
        "what happened to a file": lambda: file_story(catalog, Path(first)),
    }


def tell(what: str, ask: Callable[[], Any]) -> float:
    """Print the first time and the median of `REPEATS`, both in ms; give the median."""
    times = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1e3)
    median = statistics.median(times[1:])
    print(f"  {what:36} {times[0]:7.1f} ms first, {median:7.1f} ms")
    return median


def seconds_for_new_files(catalog: Catalog) -> float:
    """The median time to save `NEW_FILES` files of new series; they are taken out again."""
    times = []
    for repeat in range(REPEATS):
        files, volumes, annotations = joined(series(10_000_000 + repeat * 100), NEW_FILES // FILES_A_SERIES)
        began = time.perf_counter()
        catalog.save(files, volumes, annotations)
        times.append(time.perf_counter() - began)
        catalog.forget([file.path for file in files])
    return statistics.median(times)


def against_parquet(catalog: Catalog, out: Path) -> None:
    """The same question to a Parquet file of the same rows."""
    export_table(catalog, "files", out)
    ours = tell("quarantined files", lambda: list_files(catalog, FileFilter(outcome="quarantined")))
    columns = ["path", "outcome", "kind", "size", "reason"]
    peer = tell(
        "the same from Parquet by pyarrow",
        lambda: parquet.read_table(out, columns=columns, filters=[("outcome", "==", "quarantined")]).slice(0, 50),
    )
    print(f"  pyarrow takes {peer / ours:.0f} times as long")


def fill(catalog: Catalog, files: int) -> None:
    rows = series(0)
    for _ in range(files // FILES_A_SERIES // 100):
        catalog.save(*joined(rows, 100))
    one_folder = [
        FileRecord(f"/archive/twenty thousand/{n:06}.dcm", 1, 1, "2-0123abcd", "other", "ignored", "no scan")
        for n in range(TWENTY_THOUSAND)
    ]
    catalog.save(one_folder)


def joined(rows: Iterator[Rows], count: int) -> Rows:
    parts = [next(rows) for _ in range(count)]
    files, volumes, annotations = ([row for part in parts for row in part[which]] for which in range(3))
    return files, volumes, annotations  # type: ignore[return-value]


def series(number: int) -> Iterator[Rows]:
    """Rows of one series after the other: 1 in 20 is refused, 1 in 20 no scan, 1 in 3 annotated."""
    while True:
        patient = number // SERIES_A_PATIENT
        folder = f"/archive/site{patient % 7}/patient{patient:05}/{digest('study', patient)[:32]}/series{number:06}"
        ids = [digest("volume", number, n)[:16] for n in range(VOLUMES_A_SERIES)]
        outcome, reason = "ingested", ""
        if number % 20 == 3:
            outcome, reason = "quarantined", f"{number % 13 + 1} slice(s) missing, {number % 400} mm apart"
        elif number % 20 == 4:
            outcome, reason = "ignored", "not a kind of file that cellscan reads"
        files = [
            FileRecord(
                path=f"{folder}/IM{n:04}.dcm",
                size=500_000 + n,
                mtime_ns=1_700_000_000_000_000_000 + n,
                reader="2-0123abcd",
                kind="image",
                outcome=outcome,
                reason=reason,
                digest=digest("file", number, n),
                series=digest("series", number)[:16],
                instance=digest("instance", number, n)[:16],
                volume_ids=(ids[n * VOLUMES_A_SERIES // FILES_A_SERIES],) if outcome == "ingested" else (),
            )
            for n in range(FILES_A_SERIES)
        ]
        volumes = [
            VolumeRecord(
                volume_id=volume_id,
                store="/home/user/.cellscan/volumes",
                patient_key=digest("patient", patient)[:16],
                study=digest("study", patient)[:16],
                series=digest("series", number)[:16],
                modality="XA" if number % 97 == 0 else ("CT", "MR", "PT", "CR", "SM")[number % 5],
                part=f"phase {n + 1} of {VOLUMES_A_SERIES}",
                shape=(512, 512, 100),
                spacing=(0.7, 0.7, 2.5),
                unit="mm",
                channels=1,
                attributes={"format": "dicom", "manufacturer": "ACME", "slice_thickness_mm": "2.5"},
            )
            for n, volume_id in enumerate(ids)
        ]
        marked = ids[:2] if number % 3 == 0 else []
        labels = {"lesion": 2, "vessel": 1}
        yield files, volumes, [AnnotationRecord(one, "/archive/marks.csv", "csv", 3, labels) for one in marked]
        number += 1


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


if __name__ == "__main__":
    main()
