"""The page of ``pcs-detect report`` in a browser: opened from a file, clicked through, saved from, printed.

Needs Chromium and its driver (Debian: chromium, chromium-driver) and the package selenium.
"""

import base64
import json
import time

import pandas as pd
import pytest
import report_folders as folders

from pcs_detect.report import write_report

pytestmark = pytest.mark.browser
FLAGS = (
    "--headless",
    "--no-sandbox",  # Chromium refuses to run as root with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1300,900",
)
EVIL = '<img src=x onerror=alert(1)> "a", b.png'


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """(folder of predict, page): twelve photographs of a time course, one with a name to be wary of, one without crystals."""
    folder = tmp_path_factory.mktemp("course")
    detector = folders.detector()
    predicted, sizes = folders.time_course(folder, detector)
    folders.draw(folder / "photographs" / EVIL, 5)
    folders.draw(folder / "photographs" / "zero.png", 0)
    folders.predicted(detector, folder / "photographs", predicted)
    write_report(predicted, folder / "report.html", sizes)
    return predicted, folder / "report.html"


@pytest.fixture
def opened(browser, course):
    """The page, loaded anew. Afterwards nothing may have been fetched, and the console must be empty."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(course[1].as_uri())
    yield browser
    assert browser.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert course[1].as_uri() in {url.partition("#")[0] for url in asked}
    assert [url[:60] for url in asked if not url.startswith(("data:", "blob:", course[1].as_uri()))] == []


def one(browser, selector):
    return browser.find_element("css selector", selector)


def count(browser, selector):
    """Elements that are seen."""
    script = "return [...document.querySelectorAll(arguments[0])].filter((e) => getComputedStyle(e).display !== 'none').length"
    return browser.execute_script(script, selector)


def view(browser):
    """x, y, width, height of the part of the photograph that is seen, px."""
    found = browser.execute_script("return document.getElementById('stage').getAttribute('viewBox')")
    return [float(v) for v in found.split()]


def show(browser, name):
    for option in browser.find_elements("css selector", "#which option"):
        if option.text.endswith(f". {name}"):
            option.click()
            return
    raise AssertionError(name)


def details(browser):
    """What the page says of the crystal that was chosen."""
    terms = browser.find_elements("css selector", "#crystal dt")
    return {t.text: v.text for t, v in zip(terms, browser.find_elements("css selector", "#crystal dd"))}


def send_wheel(browser, dy):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    browser.execute_script("document.getElementById('viewer').scrollIntoView()")
    ActionChains(browser).scroll_from_origin(ScrollOrigin.from_element(one(browser, "#stage"), 100, 50), 0, dy).perform()


def test_wheel_buttons_and_keys_zoom(opened):
    x, y, w, h = view(opened)
    assert x < 0
    assert y < 0
    assert x + w > 320
    assert y + h > 240
    one(opened, "[data-do=in]").click()
    assert view(opened)[2] == pytest.approx(w / 1.5)
    one(opened, "[data-do=out]").click()
    assert view(opened) == pytest.approx([x, y, w, h])
    stage = one(opened, "#stage")
    size = stage.size
    send_wheel(opened, -400)
    closer = view(opened)
    assert closer[2] < w / 1.5
    under = [size["width"] / 2 + 100, size["height"] / 2 + 50]  # stays where it was
    for axis in (0, 1):
        part = under[axis] / size[("width", "height")[axis]]
        assert closer[axis] + part * closer[axis + 2] == pytest.approx([x, y][axis] + part * [w, h][axis], abs=1)
    stage.send_keys("+")
    assert view(opened)[2] == pytest.approx(closer[2] / 1.5)
    stage.send_keys("0")
    assert view(opened) == pytest.approx([x, y, w, h])
    assert one(opened, "#ruler-text").text == "50 µm"  # of 0.5 um per px, at most 3 / 10 of what is seen


def test_dragging_and_arrow_keys_move(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    stage = one(opened, "#stage")
    for _ in range(3):
        one(opened, "[data-do=in]").click()
    x, y, w, _ = view(opened)
    scale = w / stage.size["width"]
    opened.execute_script("document.getElementById('viewer').scrollIntoView()")
    ActionChains(opened).move_to_element(stage).click_and_hold().move_by_offset(-90, 40).release().perform()
    assert view(opened)[:2] == pytest.approx([x + 90 * scale, y - 40 * scale], abs=0.6)
    assert "Click on one" in one(opened, "#crystal").text  # that was no click
    stage.send_keys("\ue012")  # left arrow
    assert view(opened)[0] == pytest.approx(x + 30 * scale, abs=0.6)


def test_boxes_are_switched_on_and_off(opened, course):
    table = pd.read_csv(course[0] / "crystals.csv")
    name = one(opened, "#which option").text.partition(". ")[2]
    here = table[table["image"] == name]
    assert count(opened, "#boxes polygon") == len(here)
    one(opened, "#show-inside").click()
    assert count(opened, "#boxes polygon") == here["at_border"].sum() == 1
    one(opened, "#show-border").click()
    assert count(opened, "#boxes polygon") == 0
    one(opened, "#stage").send_keys("b")
    assert count(opened, "#boxes polygon") == len(here)
    least = here["score"].median()
    change = "const i = document.getElementById('least'); i.value = arguments[0]; i.dispatchEvent(new Event('input'))"
    opened.execute_script(change, f"{least:.2f}")
    assert count(opened, "#boxes polygon") == (here["score"] >= round(least, 2)).sum()


def test_a_click_on_a_crystal_shows_its_row_and_a_row_its_crystal(opened, course):
    table = pd.read_csv(course[0] / "crystals.csv")
    show(opened, EVIL)
    here = table[table["image"] == EVIL].reset_index(drop=True)
    assert count(opened, "#boxes polygon") == len(here) == 5
    opened.execute_script("document.getElementById('viewer').scrollIntoView()")
    one(opened, "#boxes polygon[data-crystal='2']").click()
    assert one(opened, "#crystal-title").text == "Crystal 3"
    told = details(opened)
    for name, column in (("width (µm)", "width_um"), ("angle (°)", "angle_deg"), ("score", "score"), ("x (px)", "x_px")):
        assert float(told[name]) == pytest.approx(here[column][2], rel=1e-3)
    one(opened, "#rows summary").click()
    assert count(opened, "#rows tbody tr") == 5
    assert one(opened, "#rows tr.chosen td").text == "3"
    one(opened, "#rows tbody tr:first-child").click()
    assert one(opened, "#crystal-title").text == "Crystal 1"
    assert view(opened)[2] < 320
    one(opened, "[data-sort=width_um]").click()
    shown = [float(e.text) for e in opened.find_elements("css selector", "#rows tbody td:nth-child(7)")]
    assert shown == pytest.approx(sorted(here["width_um"], reverse=True), rel=1e-3)
    largest = here["width_um"].idxmax()
    one(opened, "#stage").send_keys("\ue00c")  # escape
    one(opened, "[data-do=crystal-after]").click()
    assert one(opened, "#crystal-title").text == f"Crystal {largest + 1}"


def test_photographs_are_chosen_from_list_table_and_gallery(opened):
    one(opened, "[data-do=before]").click()
    assert "zero.png" in one(opened, "#about").text
    assert count(opened, "#boxes polygon") == 0
    assert "There are none" in one(opened, "#crystal").text
    assert "no width to measure" in one(opened, "#histograms").text
    one(opened, "td a[data-open='1']").click()
    assert one(opened, "#which").get_attribute("value") == "1"
    one(opened, ".thumb[data-open='2']").click()
    assert one(opened, "#which").get_attribute("value") == "2"
    assert one(opened, "#photo").get_attribute("href").startswith("data:image/webp")
    loaded = "return [...document.images].filter((i) => !i.complete || !i.naturalWidth).length"
    assert opened.execute_script(loaded) == 0


def test_a_saved_csv_is_the_file(opened, course, tmp_path):
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    for name in ("crystals", "images"):
        one(opened, f"#files [data-download={name}]").click()
        saved = tmp_path / f"{name}.csv"
        end = time.monotonic() + 20
        while not saved.is_file() and time.monotonic() < end:
            time.sleep(0.1)
        assert saved.read_bytes() == (course[0] / f"{name}.csv").read_bytes()


def test_names_run_nothing_and_a_foreign_script_cannot(opened):
    assert one(opened, "body").get_attribute("class") == "ready"
    assert count(opened, "td img, option img, figcaption img") == 0
    script = "const s = document.createElement('script'); s.textContent = 'window.foreign = 1'; document.body.append(s)"
    opened.execute_script(
        script + "; document.body.insertAdjacentHTML('beforeend', '<img src=data:, onerror=\"foreign = 2\">')"
    )
    time.sleep(0.3)
    assert opened.execute_script("return window.foreign") is None
    refused = opened.get_log("browser")
    assert len(refused) == 2
    assert all("Content Security Policy" in entry["message"] for entry in refused)


def test_a_narrow_window_has_no_sideways_scrolling(opened):
    device = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        x, _, w, _ = view(opened)
        assert x < 0
        assert x + w > 320
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_prints(opened):
    found = opened.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    pdf = base64.b64decode(found["data"])
    assert pdf.startswith(b"%PDF")
    assert 5 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 14
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert count(opened, "#viewer, .download, nav") == 0
        assert count(opened, ".gallery li") == 12
        assert "On paper the first 12 of 14" in one(opened, "body").text
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_scale_bar_is_measured(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    show(opened, "r1 1-1 1 h.png")
    one(opened, "#measure").click()
    opened.execute_script("document.getElementById('viewer').scrollIntoView()")
    before = view(opened)
    ActionChains(opened).move_to_element(one(opened, "#stage")).click_and_hold().move_by_offset(100, 0).release().perform()
    per_pixel = before[2] / opened.execute_script("return document.getElementById('stage').clientWidth")
    one(opened, "#bar-length").send_keys("50")
    told = one(opened, "#bar-text").text
    pixels = float(told.split(" px")[0])
    assert pixels == pytest.approx(100 * per_pixel, abs=0.06 + per_pixel)
    assert f"--um-per-px {50 / (100 * per_pixel):.3g}"[:16] in told
    assert view(opened) == before  # dragging measures, and moves nothing
    assert count(opened, "#boxes polygon.chosen") == 0
    one(opened, "#measure").click()
    assert count(opened, "#measured") == 0
    assert one(opened, "#bar").get_attribute("visibility") == "hidden"


def test_two_hundred_photographs_open_within_three_seconds(browser, tmp_path):
    """And are less than 60 MB, however many crystals there are."""
    import numpy as np
    from PIL import Image

    from pcs_detect.crystals.tables import crystal_table, write_table

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (360, 480)).astype(np.uint8)).save(tmp_path / "photograph.png")
    tables, images = [], []
    for k in range(200):
        boxes = rng.uniform((20, 20, 10, 5, -1.5), (460, 340, 40, 10, 1.5), (150, 5))
        tables.append(crystal_table(f"{k}.png", boxes, rng.random(150), np.zeros(150, bool), 0.5))
        place = {"path": str(tmp_path / "photograph.png"), "height_px": 360, "width_px": 480, "um_per_px": 0.5}
        images.append({"image": f"{k}.png", **place, "crystals": 150, "at_border": 0, "overlay": "", "error": ""})
    write_table(pd.concat(tables), tmp_path / "crystals.csv")
    write_table(pd.DataFrame(images), tmp_path / "images.csv")
    write_report(tmp_path, tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size < 60e6
    seconds = []
    for _ in range(3):  # the quickest says what the page needs, others what else the machine does
        browser.get((tmp_path / "report.html").as_uri())
        script = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
        seconds.append(browser.execute_script(script) / 1000)
        assert len(browser.find_elements("css selector", ".thumb img")) == 200
        assert count(browser, "#boxes polygon") == 150
    assert min(seconds) < 3
