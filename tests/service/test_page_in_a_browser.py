"""What people do on the service's page: submit, watch, cancel, compare, try, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest
from page_browser import ENDLESS, TINY, Backend, Page, needs_browser

from minidl.service.ranks import why_no_ranks

webdriver = pytest.importorskip("selenium.webdriver")
Keys = webdriver.Keys

pytest_plugins = ["page_browser"]
pytestmark = [pytest.mark.slow, needs_browser]

STATE = ".heading .state"


@pytest.fixture(scope="module")
def trained(backend: Backend) -> str:
    """A job that has succeeded."""
    return backend.trained("a trained model", labels={"team": "vision"})


def _chord(page: Page, held: str, key: str) -> None:
    """Press a key while another is held."""
    webdriver.ActionChains(page.driver).key_down(held).send_keys(key).key_up(held).perform()


def test_a_token_opens_the_page(stranger: Page) -> None:
    stranger.expect("401")
    stranger.go("#/submit")
    stranger.picture("sign-in")
    assert stranger.wait(lambda: stranger.focused() == "token")
    stranger.type("minidl_wrong", Keys.ENTER)
    stranger.wait_for_text("#token-error", "does not know this token")
    stranger.find("#token").clear()
    stranger.find("#token").send_keys(stranger.backend.token, Keys.ENTER)
    stranger.wait_for_text("h1", "Submit a job")
    assert "admin" in stranger.text("#account")
    # No script can read what the browser keeps.
    assert stranger.backend.token not in stranger.driver.execute_script(
        "return document.cookie + JSON.stringify({...localStorage, ...sessionStorage})"
    )
    stranger.click("#account button")
    stranger.wait_for_text("h1", "Sign in")
    stranger.go("#/jobs")
    stranger.wait_for_text("h1", "Sign in")


def test_a_job_is_submitted_and_watched_to_its_end(page: Page) -> None:
    page.go("#/jobs")
    page.click("a.primary")
    page.wait_for_text("#config-said", "The config is valid: a training")
    assert "MNISTSample" in page.find("#config").get_property("value")
    page.write_config(TINY)
    page.wait_for_text("#config-said", "The config is valid: a training")
    page.find("#option-name").send_keys("watched")
    page.find("#option-labels").send_keys("team=vision, purpose=a test")
    page.find("#option-timeout").send_keys("5 min")
    page.picture("submit")
    page.click(".submit button.primary")
    page.wait_for_text("h1", "^watched$")
    page.wait_for_text(STATE, "running")
    page.wait_for_text(STATE, "succeeded")
    page.wait_for_text(".facts", "team=vision(.|\n)*purpose=a test(.|\n)*5 min 00 s")
    page.wait_for_text(".headline", r"test/accuracy\n\d\d\.\d\d %")
    charts = [chart.get_attribute("data-chart") for chart in page.all(".chart")]
    assert charts[:3] == ["loss", "accuracy", "lr"]
    page.wait_for_text("[data-chart=loss] .legend", r"train/loss [\d.]+\s*val/loss [\d.]+")
    points = page.find("[data-chart=loss] polyline").get_attribute("points").split()
    assert len(points) == 18  # 36 steps, every second one
    page.picture("job")
    page.go("#/jobs")
    page.wait_for_text("tbody tr", r"succeeded(.|\n)*watched(.|\n)*test/accuracy \d")
    page.picture("jobs")


@pytest.mark.skipif(why_no_ranks() is not None, reason=str(why_no_ranks()))
def test_a_job_of_two_ranks(page: Page) -> None:
    page.expect("422")
    page.go("#/submit")
    page.wait_for_text("#config-said", "valid")
    page.write_config(TINY)
    page.wait_for_text("#config-said", "valid")
    page.find("#option-name").send_keys("of two")
    field = page.find("#option-ranks")
    field.clear()
    field.send_keys("1000")
    page.click(".submit button.primary")
    page.wait_for_text(".submit", "ranks: 1000 would wait for ever")
    field.clear()
    field.send_keys("2")
    page.click(".submit button.primary")
    page.wait_for_text("h1", "^of two$")
    page.wait_for_text(".facts", r"ranks\s+2")
    page.wait_for_text(STATE, "succeeded")


def test_a_running_job_is_seen_at_work_and_cancelled(page: Page) -> None:
    page.go("#/jobs")
    page.find("h1")
    job_id = page.backend.submit("endless", ENDLESS)
    # The list has it, and its states, without being asked.
    page.wait_for_text("tbody tr", r"running(.|\n)*endless(.|\n)*epoch \d+ of 100000")
    page.click(f"a[href='#/jobs/{job_id}']")
    before = page.wait_for_text(".progress .words", r"step [\d,]+")
    page.wait(lambda: page.text(".progress .words") not in ("", before), "progress")
    page.wait_for_text("[data-chart=loss] .legend", r"train/loss \d")
    page.click("[data-action=Cancel]")
    page.wait_for_text("dialog h2", "Cancel endless?")
    page.type(Keys.ESCAPE)
    page.wait(lambda: not page.all("dialog"), "the dialog goes")
    assert page.focused("data-action") == "Cancel"
    page.click("[data-action=Cancel]")
    page.click("dialog [type=submit]")
    page.wait_for_text(STATE, "^cancelled$")
    actions = [button.text for button in page.all("[data-action]")]
    assert actions == ["Resume", "Retry", "Delete"]
    page.click(".parts a[href$='/history']")
    page.wait_for_text(".part", r"cancelled; exit status 75(.|\n)*cancel asked\s+admin")
    page.expect("404")  # its page may ask for it once more before it is left
    page.click("[data-action=Delete]")
    page.click("dialog [type=submit]")
    page.wait_for_text("h1", "^Jobs$")
    page.wait(lambda: not page.all(f"a[href='#/jobs/{job_id}']"), "it leaves the list")


def test_mistakes_are_marked_where_they_are(page: Page) -> None:
    page.expect("422")
    page.go("#/submit")
    page.wait_for_text("#config-said", "valid")
    broken = TINY.replace("lr: 1e-2", "learning_rate: 1e-2").replace("ReLU", "RELU")
    page.write_config(broken)
    page.wait_for_text("#config-said", "2 problems, the first in line 8, column 14")
    assert [mark.text for mark in page.all(".gutter .wrong")] == ["8", "10"]
    assert [mark.text for mark in page.all(".copy .fault")] == ["RELU", "learning_rate"]
    page.wait_for_text(".problems li:last-child", "no key `learning_rate`.*did you mean `lr`")
    page.picture("mistakes")
    page.click(".problems li:last-child button")
    assert page.focused() == "config"
    page.type("lr: 1e-2}")
    page.wait_for_text("#config-said", "1 problem, in line 8")
    # What is wrong is not taken, and the editor says where.
    page.click(".submit button.primary")
    page.wait_for_text(".submit .warning", "Not submitted: the config has 1 problem")
    assert page.focused() == "config"
    page.write_config(TINY)
    page.wait_for_text("#config-said", "valid")
    assert page.all(".gutter .wrong") == page.all(".problems li") == []
    # Another config can be loaded, and that undone.
    page.find(".begin select").send_keys("starter")
    page.click(".begin button")
    page.wait(lambda: "every section" in page.find("#config").get_property("value"), "the starter")
    assert page.focused() == "config"
    _chord(page, Keys.CONTROL, "z")
    page.wait(lambda: page.find("#config").get_property("value") == TINY, "what was there before")
    page.find("#option-priority").send_keys("1000")
    page.find("#option-labels").send_keys("nonsense")
    page.click(".submit button.primary")
    page.wait_for_text("#option-labels-error", "“nonsense” is no label; write key=value")
    page.wait_for_text("#option-priority-error", "is no whole number from -100 to 100")
    assert page.focused() == "option-labels"


def test_all_of_a_submission_by_keyboard(page: Page) -> None:
    page.go("#/jobs")
    page.find("a.primary")
    page.tab_to(".skip", most=1)
    page.tab_to("a.primary")
    page.type(Keys.ENTER)
    page.wait_for_text("#config-said", "valid")
    assert page.focused("tagName") == "H1"
    page.tab_to("#config")
    _chord(page, Keys.CONTROL, "a")
    # Tab indents, and a new line keeps the margin; Shift+Tab takes one step back.
    page.type("data: {type: MNISTSample, batch_size: 50, val_fraction: 0.9}", Keys.ENTER)
    page.type("model:", Keys.ENTER, Keys.TAB, "type: MLP", Keys.ENTER, "hidden: [8]", Keys.ENTER)
    _chord(page, Keys.SHIFT, Keys.TAB)
    page.type("optimizer: {type: SGD, lr: 0.1}", Keys.ENTER, "trainer: {epochs: 1}")
    text = page.find("#config").get_property("value")
    assert text.split("\n")[1:5] == [
        "model:", "  type: MLP", "  hidden: [8]", "optimizer: {type: SGD, lr: 0.1}"
    ]  # fmt: skip
    page.wait_for_text("#config-said", "valid")
    page.type(Keys.TAB)
    assert page.focused() == "config"
    page.type(Keys.ESCAPE)
    page.tab_to("#option-name", most=1)
    page.type("by keyboard")
    page.tab_to(".submit button.primary")
    page.type(Keys.ENTER)
    page.wait_for_text("h1", "^by keyboard$")
    assert page.focused("tagName") == "H1"
    page.wait_for_text(STATE, "succeeded")
    page.tab_to(".parts a[href$='/log']")
    page.type(Keys.ENTER)
    page.wait_for_text(".log", "epoch")
    assert page.focused("textContent") == "Log"
    # A chart is read with arrow keys.
    page.tab_to("header nav a", most=60)
    page.driver.back()
    page.find("[data-chart=loss] svg")
    page.tab_to("[data-chart=loss] svg")
    page.type(Keys.ARROW_RIGHT)
    page.wait_for_text("[data-chart=loss] figcaption", r"step \d")
    page.wait_for_text("#announcements", r"step \d.*train/loss [\d.]+")


def _shares(page: Page) -> list[float]:
    """How sure the model is said to be, and how sure of each class."""
    said = [page.text(".verdict").split()[1], *page.text(".bars").split("\n")[1::2]]
    return [float(text.split()[0]) for text in said]


def test_a_digit_that_is_drawn_is_told(page: Page, trained: str, tmp_path: Path) -> None:
    from PIL import Image, ImageDraw

    page.go(f"#/jobs/{trained}/try")
    field = page.find("canvas.field")
    page.wait_for_text(".verdict", "Draw a digit")
    actions = webdriver.ActionChains(page.driver, duration=30)
    actions.move_to_element_with_offset(field, 0, -90).click_and_hold()
    for _ in range(6):
        actions.move_by_offset(0, 30)
    actions.release().perform()
    page.wait_for_text(".verdict", r"^\d, [\d.]+ % sure")
    page.wait(lambda: _shares(page)[0] == max(_shares(page)[1:]), "what is said, and the bars")
    _, *shares = _shares(page)
    assert len(shares) == 10
    assert sum(shares) == pytest.approx(100, abs=1)
    page.picture("drawn")
    # By keyboard: an example, and a file.
    example = page.find("[aria-label='Example of a 0']")
    example.send_keys(Keys.ENTER)
    page.wait_for_text(".verdict", "^0, ")
    page.wait_for_text("#announcements", "^0, ")
    picture = Image.new("L", (28, 28))
    ImageDraw.Draw(picture).line([(14, 4), (14, 24)], fill=255, width=3)
    picture.save(tmp_path / "one.png")
    page.find("input[type=file]").send_keys(str(tmp_path / "one.png"))
    page.wait_for_text(".verdict", "^1, ")
    assert page.find(".seen img").get_property("naturalWidth") == 28
    page.expect("415")
    (tmp_path / "none.png").write_bytes(b"no picture")
    page.find("input[type=file]").send_keys(str(tmp_path / "none.png"))
    page.wait_for_text(".verdict.bad", "PNG")
    page.find(".try button").send_keys(Keys.ENTER)
    page.wait_for_text(".verdict", "Draw a digit")


def test_runs_are_compared(page: Page, trained: str) -> None:
    other = page.backend.trained("half as fast", TINY.replace("1e-2", "5e-3"))
    page.go("#/jobs?state=succeeded")
    for job_id in (trained, other):
        page.find(f"tr[data-key='{job_id}'] input").send_keys(Keys.SPACE)
    page.click(".top button:not(.link)")
    page.wait_for_text("h1", "^Comparison$")
    page.wait_for_text("main table", r"a trained model\s+succeeded(.|\n)*half as fast\s+succeeded")
    page.wait_for_text("[data-chart=loss] .legend", r"a trained model\s+[\d.]+\s+[\d.]+")
    assert len(page.all("[data-chart=loss] polyline.run0")) == 3
    assert len(page.all("[data-chart=loss] polyline.run1")) == 3
    rows = [row.text for row in page.all("[aria-label='Differences of the configs'] tbody tr")]
    assert rows == ["optimizer.lr 0.01 0.005"]
    page.picture("compared")
    drawing = page.find("[data-chart=loss] > svg")
    webdriver.ActionChains(page.driver).move_to_element_with_offset(drawing, -100, 0).perform()
    page.wait_for_text("[data-chart=loss] figcaption", r"step \d")
    # How curves are drawn can be changed.
    points = page.find("[data-chart=loss] polyline.run0").get_attribute("points")
    page.click(".controls input[type=checkbox]")
    logarithmic = page.find("[data-chart=loss] polyline.run0").get_attribute("points")
    assert logarithmic != points
    page.find("input[type=range]").send_keys(Keys.ARROW_RIGHT * 10)
    page.wait_for_text(".controls output", "0.50")
    assert page.find("[data-chart=loss] polyline.faint").get_attribute("points") != ""
    page.find(".controls select").send_keys("time")
    page.wait(lambda: "time" in drawing.get_attribute("textContent"), "time below the chart")
    # And so can one job's config be compared with another's.
    page.go(f"#/jobs/{trained}/config?with={other}")
    page.wait_for_text(".part", r"1 key differs(.|\n)*optimizer.lr\s+0.01\s+0.005")
    page.wait_for_text(".part details pre", "seed: 7")
    page.picture("config")


def test_a_job_is_resumed_and_retried(page: Page) -> None:
    job_id = page.backend.trained("goes on")
    page.go(f"#/jobs/{job_id}")
    page.click("[data-action=Resume]")
    page.wait_for_text("dialog", "newest checkpoint")
    page.find("dialog textarea").send_keys("trainer.epochs=5")
    page.click("dialog [type=submit]")
    page.wait_for_text(STATE, "queued|starting|running")
    page.wait_for_text(STATE, "succeeded")
    page.wait(
        lambda: len(page.find("[data-chart=loss] polyline").get_attribute("points").split()) == 30,
        "60 steps, every second one",
    )
    page.click(".parts a[href$='/history']")
    page.wait_for_text(".part", "36 to 60")
    page.click(".parts a[href$='/files']")
    page.wait_for_text(".part", "metrics.jsonl")
    page.wait(lambda: page.all(".images img"), "pictures")
    whole = "return [...document.images].every((image) => image.complete && image.naturalWidth)"
    page.driver.execute_script("document.images.forEach?.((i) => { i.loading = 'eager'; })")
    page.wait(lambda: page.driver.execute_script(whole), "whole pictures")
    page.click("[data-action=Retry]")
    page.click("dialog [type=submit]")
    page.wait_for_text(STATE, "queued|starting|running")
    page.wait_for_text(STATE, "succeeded")
    page.wait_for_text(".facts", r"attempts\n3 \(local\)")


def test_the_page_outlives_a_reload_and_a_killed_service(page: Page) -> None:
    page.expect("ERR_CONNECTION", "ERR_INCOMPLETE_CHUNKED", "503")
    job_id = page.backend.submit("outlives", ENDLESS)
    page.backend.service.wait_for(job_id, "running")
    page.go(f"#/jobs/{job_id}/log")
    page.wait_for_text(".log", "epoch")
    page.driver.refresh()
    page.wait_for_text(".log", "epoch")
    assert page.text("[aria-current=page]") == "Log"
    page.backend.kill()
    page.wait_for_text("#notice", "cannot be reached")
    page.picture("not-reached")
    before = page.text(".log")
    page.backend.start()
    page.wait_for_text("#notice", "The service is there again")
    page.wait(lambda: len(page.text(".log")) > len(before), "more of the log")
    lines = page.text(".log").splitlines()
    epochs = [line for line in lines if line.lstrip().startswith("epoch")]
    assert len(epochs) == len(set(epochs))  # nothing twice
    page.click(".parts a[href$='/overview']")
    page.wait_for_text("[data-chart=loss] .legend", r"train/loss \d")
    page.click("[data-action=Cancel]")
    page.click("dialog [type=submit]")
    page.wait_for_text(STATE, "^cancelled$")


def test_a_draft_outlives_a_reload(page: Page) -> None:
    page.go("#/submit")
    page.wait_for_text("#config-said", "valid")
    page.write_config(TINY)
    page.find("#option-name").send_keys("a draft")
    page.driver.refresh()
    page.wait_for_text("#config-said", "valid")
    assert page.find("#config").get_property("value") == TINY
    assert page.find("#option-name").get_property("value") == "a draft"
