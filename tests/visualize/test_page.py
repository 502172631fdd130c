"""The page in a real browser: every control, the pixels it draws, no error, no network, a telephone's screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiment import Run
from tests.visualize.tiny import config_of, run_of
from visualize import kinds, page

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the browser's tests need the package playwright: pip install -e '.[browser]'"
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"there is no browser ({', '.join(BROWSERS)}) here; on Debian: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


def payload_of(name: str, **fields: object) -> dict:
    few = {"visualize__count": 3, "visualize__places": 21, "visualize__evaluations": 6, "visualize__states": 9}
    run: Run = run_of(config_of(name, **(few | fields)))
    return kinds.kind_of(run.experiment).of_run(run)


@pytest.fixture(scope="module")
def digits() -> dict:
    return payload_of("digits", visualize__methods=("ddim", "heun"))


class Opened:
    """A page in the browser, with what it has complained of and asked the network for."""

    def __init__(self, browser: Any, found: dict, path: Path, **context: Any):
        path.write_text(page.html(found), encoding="utf-8")
        self.said: list[str] = []
        self.asked: list[str] = []
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=20_000)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def value(self, name: str) -> float:
        return float(self.page.locator(f"#value-{name}").get_attribute("data-value"))

    def slide(self, place: int) -> None:
        self.page.locator("#slider").evaluate(
            "(s, place) => { s.value = place; s.dispatchEvent(new Event('input', {bubbles: true})) }", place
        )

    def step(self) -> int:
        return int(self.page.locator("#steps").input_value())

    def pixels(self, frame: str) -> np.ndarray:
        """The red, green and blue of the canvas in a frame, [height, width, 3]."""
        found = self.page.locator(f"{frame} canvas").evaluate(
            "c => [c.height, c.width, Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)]"
        )
        height, width, numbers = found
        return np.array(numbers, np.uint8).reshape(height, width, 4)[..., :3]

    def until(self, holds: str) -> None:
        """Wait until an expression holds; Playwright's own wait evaluates text in the page, whose policy forbids it."""
        for _ in range(200):
            if self.page.evaluate(holds):
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"never: {holds}")

    def close(self) -> None:
        """The page has said nothing, and asked for nothing but its own file."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert len([url for url in self.asked if url.startswith("file:")]) == 1
        self.context.close()


def grey(bytes_: np.ndarray) -> np.ndarray:
    return np.repeat(bytes_, 3, axis=-1)


def test_the_slider_the_schedules_and_the_picker(browser: Any, digits: dict, tmp_path: Path) -> None:
    opened = Opened(browser, digits, tmp_path / "page.html")
    own, cosine = digits["schedules"][-1], digits["schedules"][1]
    for place, percent in ((0, "0 %"), (10, "50 %"), (20, "100 %")):
        opened.slide(place)
        assert opened.text("#percent") == percent and opened.value("t") == place / 20
        assert opened.value("alpha") == own["alpha"][place] and opened.value("sigma") == own["sigma"][place]
        np.testing.assert_array_equal(opened.pixels("#noised-frame"), grey(own["frames"][place, 0]))
        dot = opened.page.locator("[data-curve=alpha] circle.is-own").get_attribute("data-value")
        assert float(dot) == own["alpha"][place]
        spoken = opened.page.locator("#slider").get_attribute("aria-valuetext")
        assert spoken.startswith(f"{percent.split()[0]} percent, t ")
    assert own["sigma"][0] == 0.0 and own["sigma"][20] > 0.999 and "α² / σ²" in opened.text("#values")
    opened.slide(10)
    opened.page.locator("#schedules label").nth(1).click()
    assert opened.value("alpha") == cosine["alpha"][10]
    np.testing.assert_array_equal(opened.pixels("#noised-frame"), grey(cosine["frames"][10, 0]))
    for i, schedule in enumerate(digits["schedules"]):  # side by side, whichever is chosen
        beside = f"#schedules label:nth-child({i + 1})"
        np.testing.assert_array_equal(opened.pixels(beside), grey(schedule["frames"][10, 0]))
    opened.page.locator("#thumbs label").nth(2).click()
    np.testing.assert_array_equal(opened.pixels("#noised-frame"), grey(cosine["frames"][10, 2]))
    opened.close()


def test_the_player(browser: Any, digits: dict, tmp_path: Path) -> None:
    opened = Opened(browser, digits, tmp_path / "page.html")
    ddim, heun = digits["paths"]
    press = opened.page.locator
    press("#first").click()
    assert opened.step() == 0
    for _ in range(2):
        press("#next").click()
    press("#back").click()
    press("#next").click()
    assert opened.step() == 2
    assert f"{ddim['spent'][2]} of 6 evaluations" in opened.text("#step-line")
    np.testing.assert_array_equal(opened.pixels("#state-frame"), grey(ddim["states"][2, 0]))
    np.testing.assert_array_equal(opened.pixels("#guess-frame"), grey(ddim["guesses"][2, 0]))
    press("#last").click()
    assert opened.step() == len(ddim["t"]) - 1
    np.testing.assert_array_equal(opened.pixels("#state-frame"), grey(ddim["states"][-1, 0]))
    press("#samplers label").nth(1).click()
    assert f"{heun['spent'][-1]} of {heun['evaluations']} evaluations" in opened.text("#step-line")
    press("#starts label").nth(1).click()
    np.testing.assert_array_equal(opened.pixels("#state-frame"), grey(heun["states"][-1, 1]))
    for i, path in enumerate((ddim, heun)):  # both at the end, whichever is chosen
        assert f"{path['spent'][-1]} of" in opened.text(f"#samplers label:nth-child({i + 1})")
    width = press("#state-frame canvas").bounding_box()["width"]
    press("#zoom-in").click()
    assert opened.text("#zoom").startswith("1.5") and press("#state-frame canvas").bounding_box()["width"] > width
    opened.close()


def test_playing_speed_and_keys(browser: Any, digits: dict, tmp_path: Path) -> None:
    opened = Opened(browser, digits, tmp_path / "page.html")
    press, last = opened.page.locator, len(digits["paths"][0]["t"]) - 1
    options = press("#speed option").evaluate_all("all => all.map(o => o.value)")
    assert options == ["0.25", "0.5", "1", "2", "4"]
    seconds = {}
    for speed in ("1", "4"):
        press("#first").click()
        press("#speed").select_option(speed)
        seconds[speed] = opened.page.evaluate(
            "async last => { const at = performance.now(); document.getElementById('play').click();"
            " while (Number(document.getElementById('steps').value) < last) await new Promise(r => setTimeout(r, 5));"
            " return performance.now() - at }",
            last,
        )
    assert 2.5 < seconds["1"] / seconds["4"] < 5.5
    assert press("#play").get_attribute("aria-label") == "Play"  # it has stopped at the end
    assert press("#play").get_attribute("aria-pressed") is None  # of a name that changes and a state, one says it
    opened.slide(0)
    press("#play-on").click()
    assert press("#play-on").get_attribute("aria-pressed") == "true"
    opened.until("Number(document.getElementById('slider').value) >= 3")
    press("#play-on").click()
    stopped = press("#slider").input_value()
    opened.page.wait_for_timeout(400)
    assert press("#slider").input_value() == stopped
    press("#play-back").click()
    opened.until("document.getElementById('slider').value === '0'")
    keys = opened.page.keyboard
    opened.page.evaluate("document.activeElement.blur()")
    press("#forward-title").click()
    keys.press("End")
    assert opened.text("#percent") == "100 %"
    keys.press("ArrowLeft")
    assert opened.text("#percent") == "95 %"
    keys.press("s")
    assert opened.value("alpha") == digits["schedules"][0]["alpha"][19]
    press("#reverse-title").click()
    keys.press("Home")
    keys.press("ArrowRight")
    assert opened.step() == 1
    keys.press("]")
    keys.press("[")
    keys.press(",")
    assert press("#speed").input_value() == press("#speed-of-noise").input_value() == "1"
    keys.press("2")
    np.testing.assert_array_equal(opened.pixels("#state-frame"), grey(digits["paths"][0]["states"][1, 1]))
    press("#speed").focus()
    keys.press("s")
    keys.press("3")  # the select's own keys
    assert press("#starts input").nth(1).is_checked() and press("#samplers input").nth(0).is_checked()
    press("#reverse-title").click()
    opened.page.evaluate("document.activeElement.blur()")
    keys.press("Space")
    assert press("#play").get_attribute("aria-label") == "Pause" and press("#play .when-playing").is_visible()
    opened.until("Number(document.getElementById('steps').value) >= 3")
    keys.press("Space")
    before = opened.step()
    keys.press("b")
    opened.until(f"Number(document.getElementById('steps').value) < {before}")
    opened.close()


def test_sub_vp_is_not_called_the_same_as_vp(browser: Any, digits: dict, tmp_path: Path) -> None:
    """Sub-VP has the alpha of VP, and for sigma its square (Song et al. 2021, eq. 29)."""
    *others, own = digits["schedules"]
    sub_vp = own | {"sigma": [sigma**2 for sigma in own["sigma"]]}
    for schedule, is_same in ((own, True), (sub_vp, False)):
        opened = Opened(browser, digits | {"schedules": [*others, schedule]}, tmp_path / "page.html")
        assert ("the same as this run's" in opened.text("#schedules label:nth-child(1)")) == is_same
        opened.close()


def test_only_one_place_speaks_and_names_begin_with_what_is_seen(browser: Any, digits: dict, tmp_path: Path) -> None:
    opened = Opened(browser, digits, tmp_path / "page.html")
    loud = opened.page.locator("#forward output, #step-line, [aria-live]:not([aria-live=off])")
    spoken = loud.evaluate_all("all => all.filter(e => e.getAttribute('aria-live') !== 'off').map(e => e.id)")
    assert spoken == ["status"]  # an output is a live region of its own
    named = opened.page.locator("button[aria-label]").evaluate_all(
        "all => all.map(e => [e.getAttribute('aria-label'), Array.from(e.querySelectorAll('span:not([aria-hidden])'),"
        " s => s.textContent).join('')])"
    )
    seen = [(name, text) for name, text in named if text]
    assert len(seen) > 6 and all(name.startswith(text) for name, text in seen)
    opened.close()


def is_dark(of_page: Any) -> bool:
    """Whether the paper of the page is nearer to black than to white."""
    paper = of_page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, paper[4:-1].split(", "))) < 3 * 128


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_dark_or_light_before_its_data_are_there(scheme: str, browser: Any, digits: dict) -> None:
    """A dark one would be seen as a white flash otherwise."""
    context = browser.new_context(color_scheme=scheme)
    opened = context.new_page()
    opened.set_content(page.html(digits).split('<script type="application/json"')[0])
    assert is_dark(opened) == (scheme == "dark")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_it_without_scrolling_sideways(
    scheme: str, browser: Any, digits: dict, tmp_path: Path
) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
    opened = Opened(browser, digits, tmp_path / "page.html", color_scheme=scheme, **phone)
    sizes = opened.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert sizes == [360, 360]
    assert is_dark(opened.page) == (scheme == "dark")
    other = {"light": "dark", "dark": "light"}[scheme]
    opened.page.emulate_media(color_scheme=other)
    opened.until(f"document.documentElement.dataset.theme === '{other}'")  # the system has changed: the page follows
    assert is_dark(opened.page) == (other == "dark")
    for system in (scheme, other):
        opened.page.emulate_media(color_scheme=system)
        for shown in (True, False, system == "dark"):
            opened.page.locator("#theme").tap()  # from auto to dark, to light, and to auto again
            assert is_dark(opened.page) == shown
    opened.page.locator("#theme").tap()
    opened.page.emulate_media(color_scheme=scheme)
    assert is_dark(opened.page)  # as the button says, whatever the system
    small = opened.page.locator("button:visible, select:visible").evaluate_all(
        "all => all.filter(e => e.getBoundingClientRect().height < 40).map(e => e.id)"
    )
    assert small == []  # what a finger can hit
    unnamed = opened.page.locator("button, input, select, canvas").evaluate_all(
        "all => all.filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')"
        " || e.closest('[aria-hidden]'))).map(e => e.outerHTML)"
    )
    assert unnamed == []
    box = opened.page.locator("#noised-frame").bounding_box()
    opened.slide(0)
    opened.page.mouse.move(box["x"] + 20, box["y"] + 40)
    opened.page.mouse.down()
    opened.page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 40, steps=4)
    opened.page.mouse.up()
    assert int(opened.page.locator("#slider").input_value()) > 10  # drawn along the picture
    opened.close()


@pytest.mark.parametrize("name", ["mixture8", "pydoc", "digits_masked"])
def test_the_other_views_draw(name: str, browser: Any, tmp_path: Path) -> None:
    fields = {"sampling__steps": 4, "visualize__points": 20}
    found = payload_of(name, **fields)
    opened = Opened(browser, found, tmp_path / "page.html")
    opened.slide(10)
    opened.page.locator("#last").click()
    if name == "mixture8":
        assert len(np.unique(opened.pixels("#state-frame").reshape(-1, 3), axis=0)) > 10
        opened.page.evaluate(
            "() => { window.kept = 0; for (const kind of [Map, WeakMap]) { const set = kind.prototype.set;"
            " kind.prototype.set = function (...pair) { window.kept += 1; return set.apply(this, pair) } } }"
        )
        opened.page.locator("#first").click()
        opened.page.locator("#next").click()
        assert opened.page.evaluate("window.kept") == 0  # the hues of a way are found once, not at each frame
    elif name == "pydoc":
        last = found["paths"][0]["states"][-1, 0]
        shown = opened.page.locator("#state-frame .tokens span").all_text_contents()
        marks = {"\n": "↵", "\t": "→"}
        assert shown == [marks.get(c, c) for c in (found["symbols"][str(n)] for n in last)]
        masked = opened.page.locator("#noised-frame .mask").count()
        assert masked == (found["schedules"][-1]["frames"][10, 0] == found["mask"]).sum() > 0
        state = opened.page.locator("#state-frame .tokens")
        assert state.get_attribute("aria-label") == f"The state of the sampler: {''.join(shown).strip()}"
        opened.page.locator("#first").click()
        assert opened.page.locator("#state-frame .mask").count() == len(last)
        first = f"The state of the sampler: ({len(last)} masked)"
        assert state.get_attribute("aria-label") == first
        said = opened.text("#status")
        opened.page.locator("#play").click()
        opened.until("Number(document.getElementById('steps').value) >= 2")
        assert (state.get_attribute("aria-label"), opened.text("#status")) == (first, said)  # silent while it plays
        opened.page.locator("#play").click()
        assert state.get_attribute("aria-label") != first
        assert opened.text("#status") == opened.text("#step-line") != said  # where it has stopped
    else:
        opened.slide(0)
        assert "kept 100 %" in opened.text("#schedules label:nth-child(1)") and "keeps 100 %" in opened.text("#formula")
        state = found["paths"][0]["states"][-1, 0]
        np.testing.assert_array_equal(opened.pixels("#state-frame"), grey(np.array(found["palette"], np.uint8)[state]))
        opened.page.locator("#first").click()
        assert (opened.pixels("#state-frame") == [91, 99, 216]).all()  # all masked
    opened.close()


def test_the_plane_has_the_score_of_each_state_and_guesses_as_data(browser: Any, tmp_path: Path) -> None:
    found = payload_of("mixture8", visualize__points=20, visualize__methods=("ddim",))
    (path,), middle = found["paths"], 3
    wide = [*path["half"][:middle], 100.0, *path["half"][middle + 1 :]]
    without = path["field"].copy()
    without[middle] = 0.0
    shown = []
    phone = {"viewport": {"width": 320, "height": 640}}
    for changed, screen in (
        ({}, {}),
        ({"half": wide}, {}),
        ({"field": without}, {}),
        ({}, phone),
        ({"field": without}, phone),
    ):
        opened = Opened(browser, found | {"paths": [path | changed]}, tmp_path / "page.html", **screen)
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        opened.page.locator("#first").click()
        for _ in range(middle):
            opened.page.locator("#next").click()
        shown.append((opened.pixels("#state-frame"), opened.pixels("#guess-frame")))
        opened.close()
    (state, guess), (far, guess_of_far), (bare, guess_of_bare), (small, _), (small_and_bare, _) = shown
    assert not np.array_equal(small, small_and_bare)  # a telephone shows the score too
    assert not np.array_equal(far, state) and not np.array_equal(bare, state)
    np.testing.assert_array_equal(guess_of_far, guess)  # the square of a guess is that of the data
    np.testing.assert_array_equal(guess_of_bare, guess)
