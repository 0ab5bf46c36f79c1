"""The service's page in headless Chromium, and the service behind it.

A test module that uses these fixtures says ``pytest_plugins = ["page_browser"]``. Every test ends
with a look at what the browser has to complain of: nothing, but for answers of the service that
the test has said to expect. Pictures go to the directory in MINIDL_SCREENSHOTS, or
else to pytest's.
(PYTEST_DONT_REWRITE: test modules import it, before pytest does.)
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from services import start_service

webdriver = pytest.importorskip("selenium.webdriver")

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
)
QUIET = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]
SECONDS = 60.0

#: A training of half a second, of 600 images.
TINY = """\
seed: 7
data: {type: MNISTSample, batch_size: 50, val_fraction: 0.9}
model:
  type: Sequential
  layers:
    - {type: Flatten}
    - {type: Linear, out_features: 32}
    - {type: ReLU}
    - {type: Linear, out_features: 10}
optimizer: {type: AdamW, lr: 1e-2}
trainer: {epochs: 3, log_every: 2, monitor: val/accuracy}
"""
#: One that goes on until it is cancelled.
ENDLESS = TINY.replace("epochs: 3", "epochs: 100000")


class Backend:
    """The service, which tests may kill and start again at its address."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.service = start_service(data, "--concurrency", "2")
        self.token = str(self.service.token)
        self.url = self.service.url

    def kill(self) -> None:
        """End it as the machine does; its attempts go on."""
        self.service.kill()

    def start(self) -> None:
        """Start it again, where it was."""
        port = self.url.rpartition(":")[2]
        self.service = start_service(self.data, "--concurrency", "2", "--port", port)
        self.service.token = self.token

    def submit(self, name: str, config: str = TINY, **more: Any) -> str:
        """Submit a job; return its id."""
        return str(self.service.submit(config, name=name, **more)["id"])

    def trained(self, name: str, config: str = TINY, **more: Any) -> str:
        """Submit a job and wait until it has succeeded; return its id."""
        job_id = self.submit(name, config, **more)
        job = self.service.wait_for(job_id)
        assert job["state"] == "succeeded", job
        return job_id

    def cancel(self, job_id: str) -> None:
        """Cancel a job, if it has not ended, and wait until it has."""
        self.service.ask("POST", f"/v1/jobs/{job_id}/cancel")
        self.service.wait_for(job_id)


class Page:
    """The page, as someone at a browser meets it."""

    def __init__(self, driver: Any, backend: Backend, pictures: Path) -> None:
        self.driver = driver
        self.backend = backend
        self.pictures = pictures
        self.expected: list[str] = []

    def go(self, place: str) -> None:
        """Open an address behind #, with all of the page loaded anew."""
        self.driver.get("about:blank")
        self.driver.get(f"{self.backend.url}/{place}")

    def all(self, selector: str) -> list[Any]:
        """Return the elements that there are now."""
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def find(self, selector: str) -> Any:
        """Return the first element that is shown, once there is one."""
        return self.wait(
            lambda: next((e for e in self.all(selector) if e.is_displayed()), None), selector
        )

    def wait(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Return what a condition gives, once it is something."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + SECONDS
        while True:
            try:
                if found := condition():
                    return found
            except StaleElementReferenceException:
                pass  # it has been drawn anew in between
            if time.monotonic() > end:
                said = self.text("main")[:2000]
                raise AssertionError(f"it never came: {what}; the page says: {said}")
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """Return the text of an element, "" where there is none."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.driver.execute_script(script, selector))

    def wait_for_text(self, selector: str, pattern: str) -> str:
        """Wait until an element's text has a pattern in it."""
        return str(
            self.wait(
                lambda: re.search(pattern, self.text(selector)) and self.text(selector),
                f"{pattern!r} in {selector}",
            )
        )

    def click(self, selector: str) -> None:
        """Click on an element, once it is shown."""
        self.find(selector).click()

    def type(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self, attribute: str = "id") -> str:
        """Return an attribute, or property, of the element that has the focus."""
        return str(self.driver.switch_to.active_element.get_attribute(attribute))

    def tab_to(self, selector: str, *, most: int = 60) -> None:
        """Press Tab until an element has the focus."""
        script = "return document.activeElement.matches(arguments[0])"
        for _ in range(most):
            self.type(webdriver.Keys.TAB)
            if self.driver.execute_script(script, selector):
                return
        raise AssertionError(f"Tab does not lead to {selector}")

    def write_config(self, text: str) -> None:
        """Put a text into the editor, as a paste does."""
        area = self.find("#config")
        area.send_keys(webdriver.Keys.CONTROL, "a")
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})
        assert area.get_property("value") == text

    def screen(self, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Make the screen one of a width in CSS pixels; dark or light."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def picture(self, name: str) -> None:
        """Keep a picture of all of the page."""
        taken = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True}
        )
        (self.pictures / f"{name}.png").write_bytes(base64.b64decode(taken["data"]))

    def expect(self, *answers: str) -> None:
        """Say that the browser will note answers of the service: "422", "ERR_CONNECTION"."""
        self.expected.extend(answers)

    def complaints(self) -> list[str]:
        """Return what the browser notes, beside what is expected."""
        noted = [entry["message"] for entry in self.driver.get_log("browser")]
        return [text for text in noted if not any(word in text for word in self.expected)]


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    backend = Backend(tmp_path_factory.mktemp("page") / "data")
    yield backend
    backend.service.stop()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
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
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("MINIDL_SCREENSHOTS")
    place = Path(given) if given else tmp_path_factory.mktemp("pictures")
    place.mkdir(parents=True, exist_ok=True)
    return place


@pytest.fixture
def stranger(driver: Any, backend: Backend, pictures: Path) -> Iterator[Page]:
    """The page for who has not signed in."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.get_log("browser")
    page = Page(driver, backend, pictures)
    page.screen()
    yield page
    complaints = page.complaints()
    driver.get("about:blank")  # streams end, and so does all else of this test
    assert complaints == [], complaints


@pytest.fixture
def page(stranger: Page) -> Page:
    """The page for the admin, who has signed in."""
    cookie = {"name": "minidl_token", "value": stranger.backend.token, "httpOnly": True}
    url = {"url": stranger.backend.url, "sameSite": "Strict"}
    stranger.driver.execute_cdp_cmd("Network.setCookie", cookie | url)
    stranger.go("")
    stranger.find("h1")
    # What was written in another test is no draft of this one's.
    stranger.driver.execute_script("sessionStorage.clear()")
    return stranger
