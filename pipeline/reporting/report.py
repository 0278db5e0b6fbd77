"""The report: one HTML file that holds everything it shows and asks the network for nothing.

What a caller does::

    pictures = gallery(scored_cases, read_image, config.evaluation.match, evaluation.threshold,
                       intensity=config.preprocessing.intensity)          # pipeline.reporting.gallery
    views = case_views(scored_cases, read_image, config.evaluation.match, evaluation.threshold,
                       intensity=config.preprocessing.intensity)          # pipeline.reporting.viewed
    maps = feature_maps({"1/1": array, "1/2": array, "1/4": array}, image)  # pipeline.reporting.features
    task = TaskReport(name="lesions", evaluations=(one, two), comparisons=(compare(one, two, ...),),
                      champion=two.version, config=config, pictures=pictures, views=views,
                      explained=(feature_picture(maps),),                 # pipeline.reporting.explained
                      facts={"Training cases": "41 of 24 patients"})
    data = ReportData(title="Lesions and cells", created="2026-11-22 14:05 UTC", tasks=(task, another),
                      ingest=IngestReport.of(summary.files, volumes=len(summary.volume_ids)),
                      pages=(Page("MLflow", how="mlflow ui --backend-store-uri sqlite:///…"),),
                      provenance={"Code": "commit fb6cf15"})
    write_report(settings.reports / "report.html", data)

Only ``title``, ``created`` and one evaluation a task are needed; a section without data is left out. A content policy
in the page's head allows its one style sheet and its one script, each by its digest, and no request at all. The script
is the image viewer's; without it (or where scripts are off) the tables and pictures are there and their switches, which
the style sheet reads, work. Every string from data is escaped (Jinja's autoescape, an element tree for SVG). The page
follows the reader's light or dark theme and prints light.

Pictures are dropped, and the page says how many, where the file would pass `SIZE_LIMIT`. No patient identifier may be
in the records: name cases by id, and leave file names out.
"""

import base64
import hashlib
import os
import tempfile
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.reporting.page import Budget, task_view
from pipeline.reporting.records import IngestReport, Page, ReportData, TaskReport

__all__ = ["SIZE_LIMIT", "IngestReport", "Page", "ReportData", "TaskReport", "render", "write_report"]

SIZE_LIMIT = 10_000_000
# What tables, charts and feature maps may take beside the pictures.
_RESERVED = 2_000_000
_STYLES = ("report.css", "viewer.css")
_SCRIPTS = ("viewer_picture.js", "viewer_marks.js", "viewer.js", "viewer_input.js")
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(path: Path, data: ReportData) -> Path:
    """Write the report, whole or not at all, and return its path.

    Raises:
        ValueError: there is no task, or even without case pictures it passes `SIZE_LIMIT`.
    """
    page = render(data).encode("utf-8")
    if len(page) > SIZE_LIMIT:
        raise ValueError(
            f"the report must stay below {SIZE_LIMIT:,} bytes, got {len(page):,} with all pictures that may be dropped "
            "dropped: give fewer tasks or versions a report"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-") as folder:
        whole = Path(folder) / path.name
        with whole.open("wb") as file:
            file.write(page)
            os.fsync(file.fileno())
        whole.replace(path)
    return path


def render(data: ReportData, pictures_limit: int = SIZE_LIMIT - _RESERVED) -> str:
    """The page as text; case pictures that do not fit into ``pictures_limit`` bytes are left out and counted."""
    if not data.tasks:
        raise ValueError("a report needs at least one task, got none")
    budget = Budget(pictures_limit)
    tasks = [task_view(task, f"task-{index}", budget) for index, task in enumerate(data.tasks, start=1)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in _STYLES)
    script = _script() if any(task.viewer for task in tasks) else ""
    return environment.get_template("report.html.j2").render(
        data=data,
        tasks=tasks,
        style=Markup(style),
        script=Markup(script),
        policy=Markup(_policy(style, script)),
        is_link=_is_link,
    )


def _script() -> str:
    """The viewer's parts as one script that leaves no name behind."""
    parts = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return "(() => {\n'use strict';\n" + "\n".join(parts) + "})();\n"


def _policy(style: str, script: str) -> str:
    """Nothing may be loaded, and nothing may run but what has these digests (Content Security Policy Level 3)."""
    scripts = f"'{_digest(script)}'" if script else "'none'"
    return (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src {scripts}; base-uri 'none'; "
        "form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _is_link(address: str) -> bool:
    return address.startswith(("http://", "https://"))
