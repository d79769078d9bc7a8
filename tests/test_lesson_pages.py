"""Every lesson's page in a real browser, from the first step to the last: no error, no request, the right numbers."""

import ast
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scratchgpt.backend import child_environment
from scratchgpt.lesson.cells import read_lesson, with_values
from scratchgpt.lesson.find import all_lessons
from scratchgpt.lesson.page import LARGEST, page
from scratchgpt.lesson.recording import SINGLE_THREADED, record
from scratchgpt.lesson.serve import make_server

pytestmark = pytest.mark.browser

SMALL = Path(__file__).parent / "small_lesson.py"
LESSONS = {path.parent.name: path for path in all_lessons()} | {"small_lesson": SMALL}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
)  # fmt: skip
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}

# what the dump of an independent run holds: numbers and small arrays, by name
DUMP = """
import json as _json, math as _math, numpy as _np
_found = {}
for _name, _value in list(globals().items()):
    _array = isinstance(_value, _np.ndarray) and _value.dtype.kind in "fi" and _value.ndim in (1, 2)
    if _array and 0 < _value.size and max(_value.shape) <= 16 and not _name.startswith("_"):
        _found[_name] = _value.ravel().tolist()
    elif type(_value) in (int, float, _np.float32, _np.float64) and _math.isfinite(_value):
        _found[_name] = float(_value)
print("\\n=== dump", _json.dumps(_found))
"""


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is missing: pip install 'scratchgpt[test]'"
    )
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with playwright.sync_playwright() as driver:
        path = path or driver.chromium.executable_path
        if not Path(path).exists():
            pytest.skip("Chromium is missing: install it, or run playwright install chromium")
        browser = driver.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """pages(name) -> the file of a lesson's page, of a quick run, built once."""
    folder = tmp_path_factory.mktemp("pages")

    def built(name):
        path = folder / f"{name}.html"
        if not path.exists():
            lesson = read_lesson(LESSONS[name])
            path.write_text(page(lesson, record(lesson, short=True)), encoding="utf-8")
        return path

    return built


@pytest.fixture
def opened(chromium, pages):
    """opened(name, hash) -> a page on which every console message and every request is an error at the end."""
    contexts, complaints = [], []

    def open_page(name, address="", url=None, **options):
        context = chromium.new_context(**{"viewport": DESK} | options)
        contexts.append(context)
        tab = context.new_page()
        own = url or pages(name).as_uri()
        tab.on("console", lambda message: complaints.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        tab.on("request", lambda request: complaints.append(request.url) if not request.url.startswith(own) else None)
        tab.goto(own + address)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def step(tab):
    """(the step that is shown, how many there are)"""
    shown, total = re.fullmatch(r"step (\d+) of (\d+)", tab.locator("#where").inner_text()).groups()
    return int(shown), int(total)


def answer_next(tab, how):
    """Answers the first open question by keys. how: "right", "wrong" or "skip"; returns its card."""
    card = tab.locator(".question:has(.skip:not([hidden]))").first
    card.scroll_into_view_if_needed()
    n_options = card.locator("li").count()
    number = int(card.get_attribute("data-cell"))
    right = tab.evaluate("n => D.recording.answers[questions.indexOf(n)]", number)
    key = "s" if how == "skip" else str(1 + (right if how == "right" else (right + 1) % n_options))
    tab.keyboard.press(key)
    return tab.locator(f'.question[data-cell="{number}"]')


def walk_to_the_end(tab):
    """Runs cell after cell with the keyboard alone, predicting wrong, right and not at all in turn."""
    ways = iter(["wrong", "right", "skip"] * 20)
    verdicts = {"wrong": "Not so. You predicted", "right": "Right.", "skip": "Skipped. The run gives"}
    while step(tab)[0] < step(tab)[1]:
        before = step(tab)[0]
        tab.keyboard.press("c")
        if step(tab)[0] == before:
            how = next(ways)
            card = answer_next(tab, how)
            assert card.locator(".verdict").inner_text().startswith(verdicts[how])
            assert "✓" in card.locator("button.right small").inner_text() and card.locator(".explanation").is_visible()
            assert card.locator("button.wrong small:has-text('✗')").count() == (how == "wrong")


def independent_run(lesson, value=None, end=None):
    """(what it prints, the values it ends with) of a lesson run untraced, up to line `end`, in a process of its own."""
    tree = with_values(lesson, short=True, value=value)
    tree.body = [node for node in tree.body if end is None or node.lineno <= end]
    # scratchgpt before NumPy, as in a recording: it chooses the BLAS kernels, and training amplifies the last bit
    source = "import scratchgpt\n" + ast.unparse(tree) + DUMP
    done = subprocess.run(
        [sys.executable, "-c", source], env=child_environment(PYTHONHASHSEED="0", **SINGLE_THREADED),
        capture_output=True, text=True, encoding="utf-8", check=True,
    )  # fmt: skip
    printed, _, dump = done.stdout.rpartition("\n=== dump ")
    return printed, json.loads(dump)


def shown_values(tab):
    """{name: [texts of its numbers, power of ten]} of everything in the panel, opened."""
    return tab.evaluate("""() => {
        for (const each of document.querySelectorAll("#values > details")) { each.open = true; }
        return new Promise(done => setTimeout(() => done(Object.fromEntries(
            [...document.querySelectorAll("#values > [data-name]")].map(card => [card.dataset.name, {
                tables: card.querySelectorAll("table").length,
                cells: [...card.querySelectorAll("table td")].map(td => td.textContent).filter(text => text),
                text: [...card.querySelectorAll(":scope .shown > .text")].map(text => text.textContent)[0],
                power: (card.querySelector("caption") || {}).textContent || "",
            }]))), 50));
    }""")  # fmt: skip


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


def power(text):
    digits = text.rpartition("×10")[2].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return 10.0 ** int(digits) if "×10" in text else 1.0


def compare(shown, truth):
    """Numbers on the page against those of the independent run; returns how many were compared."""
    compared = 0
    for name, true in truth.items():
        if name not in shown:
            continue
        one = shown[name]
        if isinstance(true, float):
            # a number alone is shown to seven digits
            assert number(one["text"]) == pytest.approx(true, rel=1e-6, abs=1e-12), name
            compared += 1
        elif len(one["cells"]) == len(true):
            largest = max((abs(x) for x in true if abs(x) < float("inf")), default=0)
            for text, x in zip(one["cells"], true):
                # an array is shown to about four digits of its largest number
                assert number(text) * power(one["power"]) == pytest.approx(x, rel=1e-12, abs=6e-4 * largest), name
                compared += 1
    return compared


# ---- every page


@pytest.mark.parametrize("name", LESSONS)
def test_a_page_is_walked_to_its_end_and_shows_the_numbers_of_a_run(opened, pages, name):
    lesson = read_lesson(LESSONS[name])
    assert pages(name).stat().st_size < LARGEST
    tab = opened(name)
    walk_to_the_end(tab)
    n_cells = len(lesson.code_cells)
    assert tab.locator("#cellcount").inner_text() == f"all {n_cells} cells done"
    assert tab.locator(".veil:visible").count() == 0

    printed, truth = independent_run(lesson)
    assert compare(shown_values(tab), truth) >= 5
    for text in tab.locator(".printed pre").all_inner_texts():
        assert all(line.rstrip() in printed for line in text.splitlines())
    told = set(re.split(r"[\s░▒▓█|]+", printed))
    for table in tab.locator(".printed table.heat").all():
        assert set(table.locator("td").all_inner_texts()) - {""} <= told


@pytest.mark.parametrize("name", [name for name in LESSONS if read_lesson(LESSONS[name]).slider])
def test_the_slider_shows_another_run(opened, name):
    lesson = read_lesson(LESSONS[name])
    slider = lesson.slider
    cell = next(cell for cell in lesson.cells if cell.start <= slider.line <= cell.end)
    tab = opened(name)
    last = tab.evaluate("line => endOf(cellAt(line))", slider.line)
    tab.evaluate("() => questions.forEach(question => answer(question, -1))")
    tab.evaluate("step => go(step)", last)
    tab.locator("#param").focus()
    tab.keyboard.press("End")
    high = slider.values[-1]
    assert tab.locator(".slid").inner_text() == str(high) == tab.locator("#slider output").inner_text()
    assert f"{slider.name}={high:g}" in tab.url
    assert tab.evaluate("line => states[at].cell === cellAt(line)", slider.line)  # still where the reader was
    _, truth = independent_run(lesson, value=high, end=cell.end)
    assert compare(shown_values(tab), truth) >= 3
    tab.keyboard.press("Home")
    assert tab.locator(".slid").inner_text() == str(slider.values[0])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", LESSONS)
def test_a_page_fits_a_phone(opened, name, scheme):
    tab = opened(name, viewport=PHONE, color_scheme=scheme)
    _, total = step(tab)
    tab.evaluate("() => questions.forEach(question => answer(question, -1))")
    for target in (0, total // 3, total // 2, total):
        tab.evaluate("step => go(step)", target)
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
        )
        assert tab.evaluate("$('main').scrollWidth <= $('main').clientWidth")
        assert tab.evaluate("$('side').scrollWidth <= $('side').clientWidth")
    for button in tab.locator(".moves button").all():
        box = button.bounding_box()
        assert box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        assert box["y"] + box["height"] <= PHONE["height"] and box["y"] > PHONE["height"] / 2  # within a thumb's reach


# ---- moves


def test_what_follows_a_question_waits_for_a_prediction(opened):
    tab = opened("small_lesson")
    assert not tab.get_by_text("layer_norm_forward(x, gamma, beta)").is_visible()
    assert "lines of code wait for your prediction" in tab.locator(".veil:visible").first.inner_text()
    end = tab.evaluate("lastAllowed()")
    for _ in range(end + 3):
        tab.keyboard.press("ArrowRight")
    assert step(tab)[0] == end and "Predict first" in tab.locator("#said").inner_text()
    assert tab.evaluate("document.activeElement.matches('.question')")
    tab.locator("#scrub").fill("60")  # as dragging does
    assert step(tab)[0] == end
    assert not tab.locator(".explanation").first.is_visible()
    tab.locator(".question").first.locator("li button").nth(2).click()
    assert tab.locator(".verdict").first.inner_text() == "Not so. You predicted “its bias”; the run gives “0”."
    assert tab.get_by_text("layer_norm_forward(x, gamma, beta)").is_visible()
    tab.locator("#over").click()
    assert step(tab)[0] == end + 1


def test_into_over_out_and_back_move_through_the_library(opened):
    tab = opened("small_lesson", "#step=12")
    tab.locator("#over").click()
    assert "Line 46 has run" in tab.locator("#said").inner_text() and tab.locator("#library").is_hidden()
    after = step(tab)[0]
    tab.locator("#back").click()
    tab.locator("#into").click()
    assert tab.locator("#said").inner_text() == "layer_norm_forward is called"
    assert tab.locator("#library h2").inner_text().startswith("scratchgpt/ops/reference.py")
    line = tab.locator("#library .line.now.first")
    assert "def layer_norm_forward" in line.inner_text() and line.locator("b").inner_text().isdigit()
    stack = tab.locator("#stack li").all_inner_texts()
    assert stack[0].startswith("small_lesson.py, line 46") and stack[1].startswith("layer_norm_forward, line")
    assert tab.locator("#values .tag").all_inner_texts() == ["argument"] * 4
    inside = step(tab)[0]
    tab.locator("#over").click()
    assert step(tab)[0] == inside + 1
    for _ in range(after - inside - 2):
        tab.locator("#over").click()
    assert tab.locator("#said").inner_text() == "layer_norm_forward returns"
    assert tab.locator("#values > *").first.get_attribute("data-name") == "returned"
    tab.locator("#over").click()
    assert step(tab)[0] == after  # over a return leads to the caller
    tab.locator("#scrub").fill(str(inside))
    tab.locator("#out").click()
    assert (
        step(tab)[0] == after and tab.locator("#library").is_hidden() and "Line 46" in tab.locator("#said").inner_text()
    )
    assert tab.locator("#out").is_disabled()
    tab.locator("#back").click()
    assert step(tab)[0] == 12


def test_a_click_on_a_line_goes_to_its_step(opened):
    tab = opened("small_lesson", "#step=9")
    tab.locator('.line[data-line="25"]').click()
    assert "Line 25 has run" in tab.locator("#said").inner_text()
    tab.locator('.line[data-line="9"]').click()
    assert tab.locator("#said").inner_text() == "Line 9 is no step."


def test_changed_values_come_first_and_say_so_in_words(opened):
    tab = opened("small_lesson", "#step=3")
    first = tab.locator("#values > *").first
    assert first.get_attribute("data-name") == "counter" and first.locator(".tag").inner_text() == "changed"
    assert first.locator("td.moved").all_inner_texts() == ["−2.500"]
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#values > *").first.get_attribute("data-name") == "point"
    assert tab.locator("#values > *").first.locator(".tag").first.inner_text() == "new"


def test_an_address_leads_to_its_step_and_follows_the_reader(opened, pages):
    tab = opened("small_lesson", "#step=13&shift=1")
    assert step(tab)[0] == 13 and tab.locator(".slid").inner_text() == "1.0"
    tab.keyboard.press("ArrowLeft")
    assert "#step=12&shift=1" in tab.url
    tab.evaluate("() => { location.hash = '#step=2'; }")
    tab.get_by_text("step 2 of").wait_for()
    tab.evaluate("() => { location.hash = '#step=nonsense'; }")
    tab.evaluate("() => { location.hash = '#step=99999'; }")
    tab.get_by_text("all 5 cells done").wait_for()


def test_a_deleted_value_is_gone(opened):
    tab = opened("small_lesson")
    tab.evaluate("() => questions.forEach(question => answer(question, -1))")
    tab.evaluate("go(endOf(3) - 1)")
    assert tab.locator('[data-name="doubled"]').count() == 1
    tab.keyboard.press("ArrowRight")
    assert tab.locator('[data-name="doubled"]').count() == 0 and tab.locator('[data-name="out"]').count() == 1


def test_printed_output_grows_and_shrinks_with_the_steps(opened):
    tab = opened("small_lesson", "#step=8")
    assert tab.locator(".printed pre").count() == 0
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".printed pre").inner_text() == "</script><b>printed</b>"
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".printed pre").count() == 0


# ---- for everyone


def test_the_keyboard_reaches_everything_and_shows_where_it_is(opened):
    tab = opened("small_lesson")
    reached = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        one, outlined = tab.evaluate("""() => {
            const one = document.activeElement, style = getComputedStyle(one);
            const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
            return [one.id || one.className || one.tagName, outlined];
        }""")
        reached.add(one)
        assert outlined or one == "BODY", one
    assert {"help", "over", "into", "cell", "scrub", "param", "main", "side", "skip"} <= reached
    tab.keyboard.press("?")
    assert tab.locator("#keys").is_visible()
    tab.keyboard.press("ArrowRight")
    assert step(tab)[0] == 0  # the page behind the help stands still
    tab.keyboard.press("Escape")
    tab.locator("#main").focus()  # on a slider the arrows are its own
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "i"):
        tab.keyboard.press(key)
    assert step(tab)[0] == 2 and tab.locator("#keys").is_hidden()


def test_every_control_has_a_name(opened):
    tab = opened("small_lesson", "#step=20")
    nameless = tab.evaluate("""() => [...document.querySelectorAll("button, input, summary, [tabindex]")].filter(e => {
        const label = e.id && document.querySelector(`label[for="${e.id}"]`);
        return !(e.getAttribute("aria-label") || (label || e).textContent.trim());
    }).map(e => e.outerHTML)""")
    assert nameless == []
    assert tab.locator("html").get_attribute("lang") == "en"
    assert "step 20 of" in tab.locator("#scrub").get_attribute("aria-valuetext")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, scheme):
    tab = opened("small_lesson", "#step=13", color_scheme=scheme)
    selectors = (
        "#library .line code", "#library .line .c", "#library .line .s", "#library .line .k", "#library .line .n",
        "#library .line.now code", "#library h2 small", "#values .name small", "#values .tag", "#values td", "#said",
        "#where", "#cellcount", "#over", "#into", ".prose p", ".question button span", ".printed pre", ".veil",
        ".line b", ".prose a",
    )  # fmt: skip
    low = tab.evaluate(CONTRAST, list(selectors))
    # 4.5 is what WCAG 2.2 asks of text (1.4.3)
    assert {name: ratio for name, ratio in low.items() if ratio < 4.5} == {}
    assert set(low) == set(selectors)


CONTRAST = """selectors => {  // WCAG's contrast ratio, the least of all that each selector finds
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
  const over = (top, below) => [0, 1, 2].map(k => top[k] * top[3] + below[k] * (1 - top[3])).concat(1);
  const linear = x => x <= 10.31 ? x / 255 / 12.92 : ((x / 255 + .055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const white = [255, 255, 255, 1];
  const ground = node => node ? over(parse(getComputedStyle(node).backgroundColor), ground(node.parentElement)) : white;
  const found = {};
  for (const selector of selectors) for (const node of document.querySelectorAll(selector)) {
    const colour = parse(getComputedStyle(node).color), below = ground(node);
    for (let each = node; each; each = each.parentElement) colour[3] *= +getComputedStyle(each).opacity;
    const [a, b] = [luminance(over(colour, below)), luminance(below)].sort((x, y) => y - x);
    found[selector] = Math.min(found[selector] ?? 99, (a + .05) / (b + .05));
  }
  return found;
}"""


# ---- served


def test_a_served_page_runs_any_value(opened):
    server = make_server(read_lesson(SMALL), port=0, short=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        tab = opened("small_lesson", "#step=11", url=f"http://127.0.0.1:{server.server_port}/")
        tab.locator("#live").fill("0.37")
        tab.keyboard.press("Enter")
        tab.locator(".slid:has-text('0.37')").wait_for()
        assert step(tab)[0] == 11
        assert tab.locator('[data-name="x"] td').all_inner_texts()[1:4] == ["1.370", "2.000", "6.000"]
        tab.locator("#param").focus()
        tab.keyboard.press("End")
        assert tab.locator(".slid").inner_text() == "1.0"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
