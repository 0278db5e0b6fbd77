"""The report as a reader has it: opened from disk in a headless Chromium, and used by mouse and by keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reporting.browser import CHROMIUM, Browser
from tests.reporting.written_cases import written_report

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"{CHROMIUM} is not installed")

VOLUMES, FIELDS = "#task-1-viewer", "#task-2-viewer"

# A copy to read from: Chromium warns of pages that read what they show.
COPY = (
    "const shown = document.querySelector('{} canvas'), c = document.createElement('canvas'); c.width = shown.width; "
    "c.height = shown.height; const p = c.getContext('2d', {{ willReadFrequently: true }}); p.drawImage(shown, 0, 0);"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return written_report(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def started(tmp_path_factory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def browser(started, page) -> Iterator[Browser]:
    started.view(1200, 900)
    started.open(page)
    for viewer in (VOLUMES, FIELDS):
        started.until(f"document.querySelector('{viewer}').dataset.case !== undefined")
    yield started
    assert started.complaints == []


def state(browser: Browser, viewer: str) -> dict[str, str]:
    browser.settled()
    return browser.run(f"({{...document.querySelector('{viewer}').dataset}})")


def grey(browser: Browser, viewer: str, across: float = 0.5, down: float = 0.9) -> int:
    """The red level at a share of the picture's width and height."""
    browser.settled()
    return browser.run(
        f"(() => {{ {COPY.format(viewer)} "
        f"return p.getImageData(c.width * {across}, c.height * {down}, 1, 1).data[0]; }})()"
    )


def focus(browser: Browser, viewer: str) -> None:
    browser.run(f"document.querySelector('{viewer} .stage').focus()")


def row(outcome: str, viewer: str = VOLUMES) -> str:
    return f"{viewer}-findings tr.{outcome}"


def test_the_page_makes_no_request_and_complains_of_nothing(browser, page):
    asked = [address for address in browser.requests if not address.startswith("data:")]
    assert asked == [page.as_uri()]
    assert browser.complaints == []


def test_a_script_that_is_not_the_reports_own_is_refused(browser):
    browser.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.evil = true'; "
        "document.body.append(s); })()"
    )
    assert browser.run("window.evil") is None
    assert any("Content Security Policy" in said for said in browser.complaints)
    browser.complaints.clear()


def test_the_wheel_scrolls_slices_and_the_picture_changes(browser):
    x, y = browser.middle(f"{VOLUMES} .stage")
    browser.mouse("mouseMoved", x - 5, y)
    before, level = int(state(browser, VOLUMES)["slice"]), grey(browser, VOLUMES)
    browser.wheel(x, y, 100)
    browser.wheel(x, y, 100)
    assert int(state(browser, VOLUMES)["slice"]) == before + 2
    assert grey(browser, VOLUMES) > level  # slices are brighter towards the end
    browser.wheel(x, y, -100)
    assert int(state(browser, VOLUMES)["slice"]) == before + 1


def test_the_slider_and_keys_reach_every_slice(browser):
    focus(browser, VOLUMES)
    slices = []
    for key in ("Home", "ArrowDown", "PageDown", "ArrowUp", "End"):
        browser.key(key)
        slices.append(int(state(browser, VOLUMES)["slice"]))
    assert slices == [0, 1, 11, 10, 19]
    browser.run(f"document.querySelector('{VOLUMES} .slice').focus()")
    browser.key("ArrowLeft")
    assert state(browser, VOLUMES)["slice"] == "18"
    assert browser.run(f"document.querySelector('{VOLUMES} .slice').getAttribute('aria-valuetext')") == "19 of 20"


def test_a_click_on_a_false_positive_arrives_at_it(browser):
    browser.click(row("false_positive"))
    now = state(browser, VOLUMES)
    assert now["slice"] == "15"
    assert now["selected"] == "detection-1"  # by falling score: 0.9, 0.7, 0.2
    assert "detection-1" in now["drawn"].split()
    assert browser.run(f"document.querySelector('{row('false_positive')}').getAttribute('aria-current')") == "true"
    assert browser.run("document.activeElement.classList.contains('stage')")
    # The ball of 100 HU lies in the middle of the picture, and the slice around it is at -150.
    assert grey(browser, VOLUMES, 0.5, 0.5) > grey(browser, VOLUMES, 0.5, 0.9) + 20


def test_the_white_ring_lies_about_the_finding(browser):
    browser.click(row("miss"))
    assert state(browser, VOLUMES)["slice"] == "9"
    whites = browser.run(
        f"(() => {{ {COPY.format(VOLUMES)}"
        "const d = p.getImageData(0, c.height / 2, c.width, 1).data; const at = []; "
        "for (let i = 0; i < c.width; i += 1) if (d[4 * i] > 250 && d[4 * i + 2] > 250) at.push(i / c.width); "
        "return at; })()"
    )
    left, right = min(whites), max(whites)
    assert left < 0.45
    assert right > 0.55
    assert (left + right) / 2 == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("outcome", "case", "layer", "key", "mark"),
    [
        ("hit", 1, "found", "a", "annotation-0"),
        ("hit", 0, "missed", "m", "annotation-0"),  # version 1 missed what version 2 found
        ("miss", 1, "missed", "m", "annotation-1"),
        ("hit", 0, "hit", "h", "detection-0"),
        ("false_positive", 0, "false", "f", "detection-1"),
        ("hit", 0, "detection", "1", "detection-0"),
        ("miss", 0, "other", "2", "other-0"),
    ],
)
def test_each_kind_of_mark_is_switched_by_box_and_by_key(browser, outcome, case, layer, key, mark):
    browser.click(f"{row(outcome)}[data-case='{case}']")
    assert mark in state(browser, VOLUMES)["drawn"].split()
    browser.click(f"{VOLUMES} .layer-{layer}")
    assert mark not in state(browser, VOLUMES)["drawn"].split()
    focus(browser, VOLUMES)
    browser.key(key)
    assert mark in state(browser, VOLUMES)["drawn"].split()
    assert browser.run(f"document.querySelector('{VOLUMES} .layer-{layer}').checked")


def test_what_is_gone_to_is_shown_whatever_was_switched_off(browser):
    for layer in ("found", "missed", "hit", "false", "detection"):
        browser.click(f"{VOLUMES} .layer-{layer}")
    for outcome, mark in (("miss", "annotation-1"), ("false_positive", "detection-1"), ("hit", "detection-0")):
        browser.click(f"{row(outcome)}[data-case='0']")
        assert mark in state(browser, VOLUMES)["drawn"].split()


def test_a_lower_threshold_shows_the_detection_of_the_missed_object_and_counts_anew(browser):
    browser.click(row("miss"))
    assert state(browser, VOLUMES)["drawn"] == "annotation-1 other-0"
    browser.until(
        f"document.querySelector('{VOLUMES} .status').textContent.includes("
        "'by version 2 at threshold 0.40: 1 hit, 1 missed, 1 false positive; "
        "whole case by version 1 at threshold 0.40: 1 hit, 1 missed, 0 false positives')"
    )
    browser.run(f"document.querySelector('{VOLUMES} .threshold-detection').focus()")
    for _ in range(21):
        browser.key("ArrowLeft")
    assert state(browser, VOLUMES)["drawn"] == "annotation-1 other-0 detection-2"
    browser.until(f"document.querySelector('{VOLUMES} .status').textContent.includes('2 hits, 0 missed')")
    browser.click(f"{VOLUMES} .reset")
    assert state(browser, VOLUMES)["drawn"] == "annotation-1 other-0"


def test_the_findings_that_only_one_version_found_are_filtered(browser):
    visible = "[...document.querySelectorAll('#task-1-viewer-findings tr.finding')].filter((e) => e.offsetParent)"
    assert browser.run(f"{visible}.length") == 6
    browser.click("#task-1-viewer-findings .only-gained")
    assert browser.run(f"{visible}.map((e) => e.cells[0].textContent + e.dataset.mark)") == ["Hitdetection-0"]
    browser.click("#task-1-viewer-findings .only-lost")
    assert browser.run(f"{visible}.map((e) => e.querySelector('.other').textContent)") == ["found, 0.80"]


def test_a_case_in_which_the_versions_differ_opens_in_the_viewer(browser):
    browser.run(
        f"const box = document.querySelector('{VOLUMES} .choose-case'); box.value = '1'; "
        "box.dispatchEvent(new Event('change'))"
    )
    assert state(browser, VOLUMES)["case"] == "volume-2"
    browser.click("#task-1-viewer-differences tr.finding button")
    assert state(browser, VOLUMES)["case"] == "volume-1"


@pytest.mark.parametrize(
    ("preset", "low", "high"), [("lung", "-1350.0", "150.0"), ("soft", "-160.0", "240.0"), ("bone", "-500.0", "1300.0")]
)
def test_windows_for_ct_are_set_by_a_button(browser, preset, low, high):
    browser.click(f"{VOLUMES} .{preset}")
    now = state(browser, VOLUMES)
    assert (now["low"], now["high"]) == (low, high)
    browser.key("Tab")
    focus(browser, VOLUMES)
    browser.key("r")
    assert state(browser, VOLUMES)["low"] == "-1000.0"  # as trained


def test_a_field_has_no_windows_for_ct(browser):
    assert browser.run(f"document.querySelector('{FIELDS} .presets')") is None


def test_two_fingers_zoom(browser):
    x, y = browser.middle(f"{FIELDS} .stage")
    browser.pinch(x, y, 60, 120)
    assert float(state(browser, FIELDS)["zoom"]) == pytest.approx(2.0, abs=0.05)


def test_window_centre_darkens_the_picture_by_slider_and_by_drag(browser):
    level = grey(browser, VOLUMES)
    browser.run(f"document.querySelector('{VOLUMES} .centre').focus()")
    for _ in range(40):
        browser.key("ArrowRight")
    darker = grey(browser, VOLUMES)
    assert darker < level
    x, y = browser.middle(f"{VOLUMES} .stage")
    browser.drag((x, y), (x, y - 120), shift=True)
    assert grey(browser, VOLUMES) > darker


def test_a_field_zooms_at_the_pointer_and_moves(browser):
    x, y = browser.middle(f"{FIELDS} .stage")
    browser.mouse("mouseMoved", x - 5, y)
    for _ in range(6):
        browser.wheel(x, y, -100)
    zoomed = state(browser, FIELDS)
    assert float(zoomed["zoom"]) > 2
    focus(browser, FIELDS)
    browser.key("0")
    assert state(browser, FIELDS)["zoom"] == "1.00"
    for key in ("+", "+", "-"):
        browser.key(key)
    assert state(browser, FIELDS)["zoom"] == "1.25"
    before = pixels(browser)
    browser.key("ArrowRight")
    moved = pixels(browser)
    assert moved != before
    browser.drag((x, y), (x + 60, y))
    assert pixels(browser) == before  # the arrow moved by 60 pixels


def pixels(browser: Browser) -> str:
    browser.settled()
    return browser.run(f"document.querySelector('{FIELDS} canvas').toDataURL()")


def test_everything_is_done_by_keys_alone(browser):
    browser.run("document.querySelector('#task-1-viewer-findings tr.hit button').focus()")
    browser.key("Enter")
    assert state(browser, VOLUMES)["selected"] == "detection-0"
    browser.key("p")  # backwards in the table: the false positives stand before the hits
    assert state(browser, VOLUMES)["selected"] == "detection-1"
    browser.key("Escape")
    assert browser.run("document.activeElement.closest('tr').className").startswith("finding false_positive")
    order = []
    browser.run(f"document.querySelector('{VOLUMES} .choose-case').focus()")
    for _ in range(13):
        order.append(browser.run("document.activeElement.className"))
        browser.key("Tab")
    assert {"previous", "next", "zoom-in", "whole", "stage", "slice", "threshold-detection", "width", "centre"} <= set(
        order
    )


def test_focus_is_visible_and_controls_have_names(browser):
    browser.run("document.querySelector('#task-1-viewer .next').focus()")
    browser.key("Tab")
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(style) == "solid"
    unnamed = browser.run(
        f"[...document.querySelectorAll('{VOLUMES} input, {VOLUMES} button, {VOLUMES} select, {VOLUMES} .stage')]"
        ".filter((e) => !(e.ariaLabel || e.textContent.trim() || (e.labels && e.labels.length))).length"
    )
    assert unnamed == 0


def test_the_wheel_scrolls_the_page_where_the_mouse_has_not_moved_over_the_picture(browser):
    x, y = browser.middle(f"{VOLUMES} .stage")
    browser.run("document.activeElement.blur()")
    browser.mouse("mouseMoved", x, y)
    browser.run("window.scrollBy({ top: 1, behavior: 'instant' })")
    browser.settled()
    before = state(browser, VOLUMES)["slice"]
    browser.wheel(x, y, 100)
    assert state(browser, VOLUMES)["slice"] == before


# Every element with text of its own, and the colour that is behind it; a half-opaque one does not occur.
CONTRAST = """(() => {
  const light = (c) => c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
  const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 })
    .getContext('2d', { willReadFrequently: true });
  const levels = (colour) => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = levels(getComputedStyle(at).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const low = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest('.panel, .skip, script, noscript') || e.disabled) continue;
    const style = getComputedStyle(e);
    const colour = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [luminance(levels(colour)), luminance(behind(e))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${e.tagName}.${e.className} ${e.textContent.trim().slice(0, 20)} ${ratio.toFixed(2)}`);
  }
  return low;
})()"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_is_behind_it(browser, dark):
    browser.view(1200, 900, dark=dark)
    browser.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    browser.settled()
    assert browser.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 27)" if dark else "rgb(246, 245, 241)"
    )
    assert browser.run(CONTRAST) == []


def test_print_is_light_and_without_what_only_a_screen_can_do(browser):
    browser.view(1200, 900, dark=True)
    browser.print_view()
    try:
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert browser.run(f"document.querySelector('{VOLUMES}').offsetParent === null")
        assert browser.run(CONTRAST) == []
    finally:
        browser.print_view(on=False)


@pytest.mark.parametrize(("width", "zoom"), [(1200, 2.0), (390, 1.0), (1200, 1.0)])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_window(browser, width, zoom, dark):
    browser.view(width, 900, zoom=zoom, dark=dark)
    browser.settled()
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.run(f"document.querySelector('{VOLUMES} .stage').clientHeight >= 200")


def test_without_a_script_the_tables_stay_and_the_viewer_is_not_there(started, page):
    started.without_script()
    try:
        started.open(page)
        assert started.run(f"document.querySelector('{VOLUMES}').offsetParent === null")
        assert started.run(f"document.querySelectorAll('{row('miss')}').length") == 2
        assert started.run("document.querySelector('.findings button')") is None
    finally:
        started.without_script(off=False)
