"""The service's page wide and narrow, light and dark, with hostile and long texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from page_browser import TINY, Backend, Page, needs_browser

webdriver = pytest.importorskip("selenium.webdriver")
Keys = webdriver.Keys

pytest_plugins = ["page_browser"]
pytestmark = [pytest.mark.slow, needs_browser]

EVIL = "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>"
LONG = "a-name-without-any-place-to-break-it-" + "x" * 120

#: Elements whose text stands out too little from its ground: [text, contrast] (WCAG 2.1, 1.4.3).
FAINT = """
const channels = (colour) => {
  const found = colour.match(/[\\d.]+/g).map(Number);
  return colour.startsWith('color(') ? found.map((v, i) => (i < 3 ? v * 255 : v)) : found;
};
const light = (rgb) => rgb.slice(0, 3)
  .map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = channels(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
};
const faint = [];
for (const element of document.querySelectorAll('body *')) {
  const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
  const box = element.getBoundingClientRect();
  const style = getComputedStyle(element);
  if (own.length === 0 || box.width < 2 || style.visibility === 'hidden') continue;
  if (element.closest('.hidden, :disabled, textarea, option, td.none')) continue;
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const [a, b] = [light(channels(colour)), light(ground(element))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) faint.push([own[0].data.trim().slice(0, 40), contrast.toFixed(2)]);
}
return faint;
"""


@pytest.fixture(scope="module")
def evil(backend: Backend) -> str:
    """A job whose name, labels and log are hostile, or long."""
    job_id = backend.trained(EVIL, labels={"a": EVIL, "b": LONG})
    log = backend.data / "jobs" / job_id / "log.txt"
    with log.open("a", encoding="utf-8") as file:
        file.write(f"{EVIL}\n\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\n{LONG}\n")
    return job_id


@pytest.fixture(scope="module")
def sweep(backend: Backend) -> str:
    """A sweep that has ended."""
    tiny = TINY.replace("epochs: 3", "epochs: 1")
    section = "sweep: {parameters: {optimizer.lr: [0.1, 0.001]}, metric: val/loss}\n"
    return backend.trained(LONG, tiny + section)


def test_what_jobs_say_is_text_and_nothing_else(page: Page, evil: str, sweep: str) -> None:
    page.go("#/jobs")
    page.wait_for_text("tbody", re.escape(EVIL))
    for part in ("", "/config", "/history", "/files", "/log"):
        page.go(f"#/jobs/{evil}{part}")
        page.wait_for_text("h1", re.escape(EVIL))
        page.wait_for_text(".facts", re.escape(EVIL))
    page.wait_for_text(".log", re.escape(EVIL))
    assert "\nred and plain\n" in page.text(".log")  # control sequences are gone
    page.go(f"#/compare?jobs={evil},{sweep}")
    page.wait_for_text("main table", re.escape(EVIL[:20]))
    page.wait_for_text("[data-chart=loss] .legend", re.escape(EVIL[:20]))
    page.go("#/jobs")
    page.wait_for_text("tbody", re.escape(EVIL))
    assert page.driver.title == "Jobs – minidl"
    assert page.driver.execute_script("return document.scripts.length") == 1
    assert page.all("main img") == []


def test_the_browser_refuses_markup_and_inline_scripts(page: Page) -> None:
    """What the policy is for: were there a hole in the page, it would lead nowhere."""
    page.expect("Content Security Policy", "TrustedHTML", "Trusted", "trusted")
    page.go("#/jobs")
    page.find("h1")
    markup = "try { document.body.innerHTML = '<b>x</b>'; return ''; } catch (e) { return e.name; }"
    assert page.driver.execute_script(markup) == "TypeError"
    inline = (
        "const button = document.createElement('button');"
        "try { button.setAttribute('onclick', 'window.ran = 1'); } catch (e) { return e.name; }"
    )
    assert page.driver.execute_script(inline) == "TypeError"
    elsewhere = (
        "const done = arguments[0];"
        "fetch('http://127.0.0.2:9/').then(() => done('sent'), (e) => done(e.name))"
    )
    assert page.driver.execute_async_script(elsewhere) == "TypeError"


PLACES = ["#/jobs", "#/submit", "#/jobs/{evil}", "#/jobs/{evil}/log", "#/jobs/{evil}/config",
          "#/jobs/{evil}/history", "#/jobs/{evil}/files", "#/jobs/{evil}/try",
          "#/jobs/{sweep}", "#/compare?jobs={evil},{sweep}"]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_all_of_it_can_be_seen(page: Page, evil: str, sweep: str, width: int, scheme: str) -> None:
    page.screen(width=width, scheme=scheme)
    for number, place in enumerate(PLACES):
        page.go(place.format(evil=evil, sweep=sweep))
        page.find("h1")
        page.wait(lambda: "Loading" not in page.text("main"), "all of it")
        page.wait(lambda: page.driver.execute_script(_SETTLED), "all answers")
        if place.endswith("log"):
            page.wait_for_text(".log", "epoch")
        if place.endswith("try"):
            page.click("[aria-label='Example of a 3']")
            page.find(".bars .likeliest")
        if place == "#/submit":
            page.wait_for_text("#config-said", "valid")
        page.picture(f"{width}-{scheme}-{number}")
        # Nothing reaches beyond the screen; what is wider scrolls within its own frame.
        beyond = page.driver.execute_script("return document.documentElement.scrollWidth")
        assert beyond <= width, place
        assert page.driver.execute_script(FAINT) == [], place
        ground = page.driver.execute_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


#: All that was asked for has been answered, a moment ago; streams do not count.
_SETTLED = """
const asked = performance.getEntriesByType('resource');
return asked.length > 0 && performance.now() - Math.max(...asked.map((e) => e.responseEnd)) > 150;
"""


def test_every_control_has_a_name_and_a_focus_that_is_seen(page: Page, evil: str) -> None:
    nameless = """
    return [...document.querySelectorAll('button, a, input, select, textarea, summary')]
      .filter((e) => e.checkVisibility())
      .filter((e) => !(e.innerText || e.getAttribute('aria-label') || e.labels?.[0]?.textContent))
      .map((e) => e.outerHTML)"""
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    for place in ("#/jobs", "#/submit", f"#/jobs/{evil}", f"#/jobs/{evil}/try"):
        page.go(place)
        page.find("h1")
        page.wait(lambda: page.driver.execute_script(_SETTLED), "all answers")
        assert page.driver.execute_script(nameless) == []
        for _ in range(12):
            page.type(Keys.TAB)
            tag = page.focused("tagName")
            # The editor's frame has it for the textarea.
            assert tag == "TEXTAREA" or page.driver.execute_script(outline) == "solid", tag


def test_the_log_is_held_still_and_followed(page: Page, evil: str) -> None:
    page.go(f"#/jobs/{evil}/log")
    page.wait_for_text(".controls", "The log is complete")
    try:
        job_id = page.backend.submit("logs", TINY.replace("epochs: 3", "epochs: 100000"))
        page.go(f"#/jobs/{job_id}/log")
        page.wait_for_text(".log", "epoch")
        page.click(".controls button")
        held = page.text(".log")
        page.wait_for_text(".controls button", r"Follow \(\d+ new lines?\)")
        assert page.text(".log") == held
        page.click(".controls button")
        page.wait(lambda: len(page.text(".log")) > len(held), "what came meanwhile")
        page.wait(
            lambda: page.driver.execute_script(
                "const log = document.querySelector('.log');"
                "return log.scrollHeight > log.clientHeight + 200"
            ),
            "more lines than are seen",
        )
        page.driver.execute_script("document.querySelector('.log').scrollTop = 0")
        page.wait_for_text(".controls button", "Follow")
    finally:
        page.backend.cancel(job_id)


def test_of_a_long_log_the_end_is_shown_and_all_is_saved(
    page: Page, sweep: str, tmp_path: Path
) -> None:
    log = page.backend.data / "jobs" / sweep / "log.txt"
    kept = log.read_bytes()
    lines = "".join(f"line {number} of µ and ü{'.' * 80}\n" for number in range(60_000))
    log.write_bytes(kept + lines.encode())
    try:
        page.go(f"#/jobs/{sweep}/log")
        page.wait_for_text(".controls", "The log is complete")
        assert "line 59999 " in page.text(".log")
        assert "line 1 " not in page.text(".log")
        place = {"behavior": "allow", "downloadPath": str(tmp_path)}
        page.driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
        page.click(".controls button:not([aria-pressed])")
        saved = tmp_path / f"{sweep}.log.txt"
        page.wait(lambda: saved.exists() and saved.stat().st_size == log.stat().st_size, "it all")
        assert saved.read_bytes() == log.read_bytes()
    finally:
        log.write_bytes(kept)


def test_a_hidden_page_holds_no_stream(page: Page) -> None:
    """A browser has six connections to a host, for all of its tabs."""

    def streams() -> float:
        figures = page.backend.service.ask("GET", "/metrics").body.decode()
        return float(re.search(r"^minidl_open_streams (\S+)", figures, re.MULTILINE)[1])

    page.wait(lambda: streams() == 1, "what happens to jobs")
    shown = page.driver.current_window_handle
    page.driver.switch_to.new_window("tab")
    page.wait(lambda: streams() == 0, "no stream")
    job_id = page.backend.submit("seen later")
    page.backend.cancel(job_id)
    page.driver.close()
    page.driver.switch_to.window(shown)
    page.wait_for_text("tbody", "seen later")
    page.wait(lambda: streams() == 1, "the stream again")


def test_a_reader_is_offered_nothing_to_change(stranger: Page, evil: str) -> None:
    made = stranger.backend.service.ask("POST", "/v1/tokens", {"user": "eve", "role": "read"})
    token = made.data["token"]
    stranger.expect("401")
    stranger.go("#/jobs")
    stranger.find("#token").send_keys(token, Keys.ENTER)
    stranger.wait_for_text("h1", "Jobs")
    assert [link.text for link in stranger.all("header nav a") if link.is_displayed()] == ["Jobs"]
    assert stranger.all("a[href='#/submit']:not(header a)") == []
    stranger.go(f"#/jobs/{evil}")
    stranger.wait_for_text(".heading .state", "succeeded")
    assert stranger.all("[data-action]") == stranger.all(".top a.button") == []
    stranger.backend.service.ask("DELETE", f"/v1/tokens/{made.data['record']['id']}")
    stranger.go("#/jobs")
    stranger.wait_for_text("h1", "Sign in")


def test_the_list_is_filtered_and_paged(page: Page) -> None:
    page.expect("422")
    page.go("#/jobs?q=nothing-is-called-so")
    page.wait_for_text(".empty", "No job fits these filters")
    for number in range(27):
        job_id = page.backend.submit(f"row {number}", TINY, priority=-100, labels={"row": "yes"})
        page.backend.service.ask("POST", f"/v1/jobs/{job_id}/cancel")
    page.click(".empty a")
    page.find("tbody tr")
    page.find(".filters input[placeholder='key=value']").send_keys("row=yes")
    page.wait(lambda: "label=row" in page.driver.current_url, "the filter in the address")
    page.wait_for_text("tbody tr:first-child .name", "^row 26")
    page.wait(lambda: len(page.all("tbody tr")) == 25, "a page of rows")
    page.click(".pages a:last-child")
    page.wait(lambda: len(page.all("tbody tr")) == 2, "the rest")
    page.driver.refresh()
    page.wait(lambda: len(page.all("tbody tr")) == 2, "the rest, again")
    assert page.find(".filters input[placeholder='key=value']").get_property("value") == "row=yes"
    page.click(".pages a:first-child")
    page.wait(lambda: len(page.all("tbody tr")) == 25, "the first page")
    page.find(".filters input[type=search]").send_keys("row 13")
    page.wait(lambda: len(page.all("tbody tr")) == 1, "one row")
    page.find(".filters select").send_keys("succeeded")
    page.wait_for_text(".empty", "No job fits these filters")


def test_what_is_not_there_is_told(page: Page) -> None:
    page.expect("404", "422")
    page.go("#/jobs/aaaaaaaaaaaaaaaa")
    page.wait_for_text("main", "There is no such job")
    page.go("#/jobs/NO-ID/log")
    page.wait_for_text("main", "There is no such job")
    page.go("#/compare?jobs=aaaaaaaaaaaaaaaa")
    page.wait_for_text("main", "Choose two jobs or more")
    page.go("#/nowhere")
    page.wait_for_text("h1", "Jobs")
    page.go("#/jobs?label=nonsense")
    page.wait_for_text("main .warning", "a label is key=value")
