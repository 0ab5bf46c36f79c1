"""The report in Chromium: no errors, all of it to be seen, wide and narrow, light and dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minidl.train.reports.page.write import write_report

webdriver = pytest.importorskip("selenium.webdriver")

pytest_plugins = ["reported_runs"]

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
    ),
]

QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in [*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def address(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("page") / "report.html"
    write_report(digits, output)
    return output.as_uri()


def _look(browser: Any, address: str, *, width: int = 1280, scheme: str = "light") -> None:
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(address)


def _find(browser: Any, selector: str) -> list[Any]:
    found: list[Any] = browser.find_elements("css selector", selector)
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_all_of_it_can_be_seen(browser: Any, address: str, width: int, scheme: str) -> None:
    _look(browser, address, width=width, scheme=scheme)
    for selector in ("h1", ".headline", "#curves svg", ".confusion", ".mistakes img", "#config"):
        elements = _find(browser, selector)
        assert elements, selector
        for element in elements:
            box = element.rect
            assert element.is_displayed(), selector
            assert box["width"] > 5, selector
            assert box["height"] > 5, selector
    # Nothing reaches beyond the screen; what is wider scrolls within its own frame.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    loaded = "return [...document.images].every((image) => image.complete && image.naturalWidth)"
    assert browser.execute_script(loaded)
    assert browser.get_log("browser") == []


def _brightness(browser: Any, what: str, of: str) -> float:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    text = browser.execute_script(script, of, what)
    channels = [float(v) / 255 for v in text[text.index("(") + 1 : -1].split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Any, address: str, scheme: str) -> None:
    """WCAG 2.1, success criterion 1.4.3: a contrast of 4.5."""
    _look(browser, address, scheme=scheme)
    ground = _brightness(browser, "backgroundColor", "body")
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("body", ".facts dt", ".quiet", "nav a", ".state", "footer"):
        text = _brightness(browser, "color", selector)
        light, dark = max(text, ground), min(text, ground)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (selector, scheme)


def test_a_pointer_and_the_arrow_keys_read_the_curves(browser: Any, address: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    _look(browser, address)
    chart = _find(browser, "#curves .chart")[0]
    drawing = chart.find_element("css selector", "svg")
    step = chart.find_element("css selector", ".step")
    output = chart.find_element("css selector", "output")
    last = output.text
    assert step.text == ""
    ActionChains(browser).move_to_element_with_offset(drawing, -150, 0).perform()
    assert step.text.startswith("step ")
    assert output.text != last
    ActionChains(browser).move_to_element(_find(browser, "h1")[0]).perform()
    assert (step.text, output.text) == ("", last)
    drawing.send_keys(Keys.ARROW_RIGHT)
    assert step.text == "step 1"
    drawing.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_LEFT)
    assert step.text == "step 1"
    assert browser.get_log("browser") == []


def test_names_of_classes_do_not_run(browser: Any, evil: Path, tmp_path: Path) -> None:
    write_report(evil, tmp_path / "evil.html")
    _look(browser, (tmp_path / "evil.html").as_uri())
    assert browser.title == "evil: minidl run"
    assert browser.execute_script("return document.scripts.length") == 1
    assert "<script>document.title='owned'</script>" in _find(browser, ".confusion")[0].text
    assert browser.get_log("browser") == []
