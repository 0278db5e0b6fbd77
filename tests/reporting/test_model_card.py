from dataclasses import replace

import pandas as pd

from pipeline.evaluation import Estimate
from pipeline.reporting.confusion_table import confusion_table
from pipeline.reporting.model_card import history_rows, limits
from pipeline.reporting.records import Promotion, ReportData, TaskReport
from pipeline.reporting.report import render
from tests.reporting.examples import evaluation_of, lesion_experiment, scored_cases

HISTORY = (
    Promotion("2026-11-22T10:00:00+00:00", "promoted", "1", None, "there is no champion to be worse than"),
    Promotion("2026-11-22T11:00:00+00:00", "forced", "2", "1", "F1 0.40 against 0.50 <b>"),
    Promotion("2026-11-22T12:00:00+00:00", "restored", "1", "2", "rolled back"),
)


def evaluation(**changes):
    config = lesion_experiment()
    return replace(evaluation_of(config, scored_cases(config, 0.7, cases=4), "lesions/1"), **changes)


def test_champions_are_told_newest_first_and_forced_ones_are_marked():
    rows = history_rows("lesions", HISTORY)
    assert [(row.at, row.change, row.forced) for row in rows] == [
        ("2026-11-22 12:00:00 UTC", "version 1 restored, in the place of version 2", False),
        ("2026-11-22 11:00:00 UTC", "version 2 forced, in the place of version 1", True),
        ("2026-11-22 10:00:00 UTC", "version 1 promoted", False),
    ]
    gone = Promotion("2026-11-22T12:00:00+00:00", "moved outside of cellscan", None, "2", "removed")
    assert history_rows("t", (gone,))[0].change == (
        "no champion any more: moved outside of cellscan, in the place of version 2"
    )


def test_the_page_has_the_history_with_its_reasons_escaped():
    page = render(ReportData("t", "today", (TaskReport("lesions", (evaluation(),), history=HISTORY),)))
    assert "F1 0.40 against 0.50 &lt;b&gt;" in page
    assert "without the policy" in page


def test_limits_name_wide_intervals_small_parts_and_unknown_scanners():
    one = evaluation(
        metrics={"average_precision": Estimate(0.5, 0.3, 0.7)},
        strata_counts={"size": {"small": {"patients": 4}, "large": {"patients": 30}}},
    )
    assert limits(replace(one, counts={**one.counts, "patients": 30})) == (
        "nothing is known of scans unlike these 30 patients; Average precision is known to ± 0.20 only; "
        "size with fewer than 10 patients: small (4); scanners and sites are not told apart."
    )
    several = {"manufacturer": {"A": {"patients": 20}, "B": {"patients": 20}}}
    assert "scanners" not in limits(replace(one, strata_counts=several))


def test_confusion_shows_counts_shares_of_the_row_and_the_diagonal():
    table = pd.DataFrame(
        [[6, 2, 2], [0, 5, 0], [1, 3, 0]], index=["a", "b", "nothing there"], columns=["a", "b", "not found"]
    )
    shown = confusion_table("lesions", evaluation(confusion=table))
    assert shown.columns == ["a", "b", "not found"]
    assert [(row.name, row.holds) for row in shown.rows] == [
        ("a", "10 objects"),
        ("b", "5 objects"),
        ("nothing there", "4 detections"),
    ]
    assert [(cell.count, cell.share, cell.tint, cell.right) for cell in shown.rows[0].cells] == [
        (6, "60%", 4, True),
        (2, "20%", 1, False),
        (2, "20%", 1, False),
    ]
    assert not any(cell.right for cell in shown.rows[2].cells)
    page = render(ReportData("t", "today", (TaskReport("lesions", (evaluation(confusion=table),)),)))
    assert "Which class was taken for which" in page


def test_one_class_has_no_confusion():
    assert confusion_table("lesions", evaluation(confusion=None)) is None
