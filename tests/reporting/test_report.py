import base64
import hashlib
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from pipeline.evaluation import Comparison, Estimate, Evaluation
from pipeline.reporting.records import IngestReport, Page, ReportData, TaskReport
from pipeline.reporting.report import SIZE_LIMIT, render, write_report
from pipeline.reporting.scores import verdict
from pipeline.reporting.viewed import CaseViews, case_views
from tests.reporting.examples import (
    cell_experiment,
    evaluation_of,
    lesion_experiment,
    scored_cases,
    task_of,
    whole_report,
)

VOID = {"meta", "input", "img", "br", "link", "hr"}


class Document(HTMLParser):
    """Every element with its attributes, all text, and whether elements close in order."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.data: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script" and self.elements[-1][1].get("type") == "application/json":
            self.data.append(data)
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def data() -> ReportData:
    return whole_report()


@pytest.fixture(scope="module")
def document(data) -> Document:
    return Document(render(data))


def test_every_element_is_closed_in_order(document):
    assert document.open == []


def test_the_page_loads_nothing_from_elsewhere(document):
    loaded = [
        attributes[name]
        for tag, attributes in document.elements
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster", "action")
        if name in attributes and tag != "a"
    ]
    assert loaded
    assert all(address.startswith("data:image/") for address in loaded)
    assert not {"link", "iframe", "object", "embed"} & {tag for tag, _ in document.elements}
    assert "url(" not in document.text
    assert "@import" not in document.text


def policy(document: Document) -> str:
    (one,) = [one["content"] for one in document.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    return one


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_a_content_policy_allows_the_own_style_and_script_by_digest_and_no_request(data, document):
    page = render(data)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    assert policy(document) == (
        f"default-src 'none'; img-src data:; style-src {digest(style)}; script-src {digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def test_the_one_script_that_runs_stands_beside_blocks_of_data_only(document):
    kinds = [one.get("type") for one in document.all("script")]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/json"}
    assert not any(name.startswith("on") or name == "style" for _, one in document.elements for name in one)


def test_a_report_without_a_viewer_allows_no_script():
    document = Document(render(whole_of_one()))
    assert document.all("script") == []
    assert "script-src 'none'" in policy(document)


def test_the_page_holds_both_tasks_with_their_figures(data, document):
    for task in data.tasks:
        assert f"{task.lead.metrics[task.lead.primary].value:.3f}" in document.text
        assert task.name in document.text
    assert len([one for one in document.all("svg") if one.get("class") == "chart"]) == 8  # 4 curves of 2 tasks


def test_intervals_are_drawn_for_each_share_of_each_version(data, document):
    drawn = [one for one in document.all("path") if one.get("class", "").startswith("interval ")]
    shares = sum(
        name != "count_error" and not math.isnan(one.lower)
        for task in data.tasks
        for evaluation in task.evaluations
        for name, one in evaluation.metrics.items()
    )
    differences = sum(
        name != "count_error" and not math.isnan(one.lower)
        for task in data.tasks
        for name, one in task.comparisons[0].differences.items()
    )
    strata = sum(
        not math.isnan(figures[shown_by(evaluation)].lower)
        for task in data.tasks
        for evaluation in task.evaluations
        for levels in evaluation.strata.values()
        for figures in levels.values()
    )
    differences += sum(
        not math.isnan(one.difference.lower)
        for task in data.tasks
        for levels in task.comparisons[0].strata.values()
        for one in levels.values()
    )
    assert strata
    assert len(drawn) == shares + strata + differences


def shown_by(evaluation: Evaluation) -> str:
    first = next(iter(next(iter(evaluation.strata.values())).values()))
    return evaluation.primary if evaluation.primary in first else "f1"


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(document):
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inner = [one["href"][1:] for one in document.all("a") if one["href"].startswith("#")]
    assert set(inner) <= set(ids)


def test_pictures_have_names_and_wide_content_scrolls_by_keyboard(document):
    assert all(one.get("alt") for one in document.all("img"))
    for one in document.all("svg"):
        named = one.get("role") == "img" and (one.get("aria-label") or one["class"] == "panel")
        assert named or one.get("aria-hidden") == "true"
    regions = [attributes for _, attributes in document.elements if attributes.get("class") == "scroll"]
    assert regions
    assert all(one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"] for one in regions)


def test_switches_hide_what_they_name(document):
    switches = {one["class"] for one in document.all("input") if one["class"].startswith(("show-", "only-"))}
    shown = {"show-annotation", "show-detection", "show-agrees", "show-ignored", "show-large"}
    assert switches == {*shown, "only-all", "only-miss", "only-false_positive", "only-hit"}
    for name in switches - {"only-all"}:
        assert f".{name}:" in document.text  # the style sheet reads it
    groups = {name for one in document.all("g") for name in one.get("class", "").split()}
    assert {"annotation", "detection", "ignored", "agrees", "differs"} <= groups


def test_dark_theme_defines_every_colour_of_the_light_one(document):
    blocks = re.findall(r":root \{([^}]*)\}", document.text)
    names = [set(re.findall(r"(--\w+):", block)) for block in blocks]
    assert len(names) == 3  # light, dark, print
    assert names[0] == names[1] == names[2]


def test_every_string_from_data_is_escaped():
    evil = "<script>alert('x')</script>\"&<img src=x onerror=y>"
    config = lesion_experiment()
    cases = scored_cases(config, 0.5, cases=4)
    one = evaluation_of(config, [replace(case, case_id=evil + case.case_id) for case in cases], evil)
    task = task_of(config)
    views = evil_views(evil)
    pictures = tuple(replace(picture, title=evil, note=evil, case_id=evil) for picture in task.pictures[:2])
    data = ReportData(
        title=evil,
        created=evil,
        tasks=(
            TaskReport(evil, (one,), champion=evil, config=config, pictures=pictures, views=views, facts={evil: evil}),
        ),
        ingest=IngestReport({evil: 1}, {evil: 1}),
        pages=(Page(evil, evil, evil), Page("script", "javascript:alert(1)")),
        provenance={evil: evil},
        notes=(evil,),
    )
    document = Document(render(data))
    assert document.open == []
    assert {one.get("type") for one in document.all("script")} == {None, "application/json"}
    assert [block["id"] for block in blocks(document)] == [one.case_id for one in views.cases]
    assert all(evil in block["names"] for block in blocks(document))
    assert not any("onerror" in attributes for _, attributes in document.elements)
    assert not any(one["href"].startswith("javascript") for one in document.all("a"))
    assert document.text.count(evil) > 10


def evil_views(evil: str) -> CaseViews:
    """Cases whose ids and class names try to end the block of data that they are embedded in."""
    config = lesion_experiment()
    cases = []
    for case in scored_cases(config, 0.5, cases=4)[2:]:
        annotations = replace(case.annotations, labels=(evil,) * len(case.annotations))
        detections = replace(case.detections, classes=(evil,))
        cases.append(
            replace(case, case_id=f"{evil}</script>{case.case_id}", annotations=annotations, detections=detections)
        )
    grid = cases[0].annotations.boxes.grid
    return case_views(cases, lambda _: np.zeros((1, *grid.shape), np.int16), config.evaluation.match, 0.4)


def blocks(document: Document) -> list[dict]:
    return [json.loads(text) for text in document.data]


def test_only_web_addresses_become_links():
    data = replace(whole_of_one(), pages=(Page("a", "http://127.0.0.1:5000"), Page("b", "sqlite:///home/x.db")))
    links = [one["href"] for one in Document(render(data)).all("a")]
    assert "http://127.0.0.1:5000" in links
    assert not any(link.startswith("sqlite") for link in links)


def whole_of_one() -> ReportData:
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.5, cases=4), "lesions/1")
    return ReportData("Small", "today", (TaskReport("lesions", (evaluation,)),))


def test_one_evaluation_is_enough_and_empty_sections_are_left_out():
    document = Document(render(whole_of_one()))
    headings = {one.get("id") for one in document.all("section")}
    assert headings == {"summary", "task-1", "reading", "provenance"}
    assert "No version shown holds @champion" in document.text


def test_a_version_on_scans_without_any_object_shows_dashes():
    config = lesion_experiment()
    evaluation = evaluation_of(config, scored_cases(config, 0.5, cases=2), "lesions/1")
    assert math.isnan(evaluation.metrics["recall"].value)
    text = Document(render(ReportData("None", "today", (TaskReport("lesions", (evaluation,)),)))).text
    assert "–" in text
    assert "nan" not in text.lower().replace("provenance", "")


def test_different_test_sets_stand_in_tables_of_their_own():
    config = lesion_experiment()
    one = evaluation_of(config, scored_cases(config, 0.5, cases=4), "lesions/1")
    other = evaluation_of(config, scored_cases(config, 0.5, cases=5), "lesions/2")
    text = Document(render(ReportData("Two", "today", (TaskReport("lesions", (one, other)),)))).text
    assert "Figures from different tables do not compare" in text
    assert one.test_set in text
    assert other.test_set in text


def test_pictures_beyond_the_limit_are_left_out_and_counted(data):
    pictures = sum(len(task.pictures) for task in data.tasks)
    text = Document(render(data, pictures_limit=0)).text
    left_out = [int(number) for number in re.findall(r"(\d+) more pictures were left out", text)]
    assert sum(left_out) == pictures
    chosen = [int(number) for number in re.findall(r"none of its (\d+) cases fits into this file", text)]
    assert chosen == [task.views.chosen for task in data.tasks]


def test_a_report_is_written_whole_below_the_limit(tmp_path, data):
    path = write_report(tmp_path / "reports" / "one.html", data)
    assert path.stat().st_size < SIZE_LIMIT
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert [one.name for one in path.parent.iterdir()] == ["one.html"]


def test_a_report_that_cannot_fit_is_refused(tmp_path):
    data = whole_of_one()
    huge = replace(data.tasks[0], config=lesion_experiment(), facts={"Long": "x" * 10_000_000})
    with pytest.raises(ValueError, match="must stay below 10,000,000 bytes"):
        write_report(tmp_path / "huge.html", replace(data, tasks=(huge,)))
    assert list(tmp_path.iterdir()) == []


def test_a_report_needs_a_task_and_a_task_an_evaluation():
    with pytest.raises(ValueError, match="at least one task"):
        render(ReportData("None", "today", ()))
    with pytest.raises(ValueError, match="at least one evaluation"):
        TaskReport("lesions", ())


def comparison(low: float, high: float, p: float) -> Comparison:
    middle = (low + high) / 2
    return Comparison("t/1", "t/2", "set", "f1", {"f1": Estimate(middle, low, high)}, {"f1": p}, {}, {}, 20)


@pytest.mark.parametrize(
    ("low", "high", "p", "start"),
    [
        (0.02, 0.10, 0.001, "Version 2 is better than version 1: F1 +0.060"),
        (-0.10, -0.02, 0.001, "Version 2 is worse than version 1: F1 −0.060"),
        (-0.02, 0.10, 0.001, "No difference is shown between version 2 and version 1"),
        (0.02, 0.10, 0.20, "Version 2 looks better than version 1, but 20 patients do not settle it"),
        (math.nan, math.nan, math.nan, "Version 2 against version 1: F1 differs by"),
    ],
)
def test_a_version_is_called_better_only_if_interval_and_permutation_agree(low, high, p, start):
    assert verdict("t", comparison(low, high, p), 0.95).startswith(start)


def test_ingest_counts_outcomes_and_reasons_without_file_names():
    class File:
        def __init__(self, outcome, reason):
            self.path, self.outcome, self.reason = "DOE^JOHN.dcm", outcome, reason

    report = IngestReport.of([File("ingested", ""), File("quarantined", "gap"), File("quarantined", "gap")], volumes=1)
    assert report == IngestReport({"ingested": 1, "quarantined": 2}, {"gap": 2}, 1)


def test_point_annotations_are_crosses_and_their_detections_rings():
    page = render(ReportData("Cells", "today", (task_of(cell_experiment(), skills=(0.7,)),)))
    assert 'class="outline annotation agrees points"' in page
    assert 'class="outline detection agrees points"' in page
    assert np.char.find(page, " 0 1 0 ") > 0
