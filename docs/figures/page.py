"""Photograph the page of the sample run for README and docs: `make figures`, after `make train`.

Writes page.png (light), page_dark.png and page_phone.png beside this file, in Debian's chromium by playwright.
"""

import argparse
import shutil
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
OPTIONS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
SHOTS = {
    "page": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "light"},
    "page_dark": {"viewport": {"width": 1180, "height": 860}, "color_scheme": "dark"},
    "page_phone": {"viewport": {"width": 390, "height": 780}, "color_scheme": "light"},
}
COLOURS = 200
"""Of the palette: half the bytes, and no difference that an eye finds."""


def main() -> None:
    """Draw all pictures, or say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=HERE.parents[1] / "outputs" / "sample" / "report.html")
    report = parser.parse_args().report.resolve()
    chromium = shutil.which("chromium")
    if not report.exists() or chromium is None:
        missing = (
            f"{report} is not there (make train)" if chromium else "there is no chromium (apt-get install chromium)"
        )
        sys.exit(f"The pictures of the page stay as they are: {missing}.")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=OPTIONS)
        for name, settings in SHOTS.items():
            photograph(browser, report, HERE / f"{name}.png", settings)
        browser.close()


def photograph(browser: Any, report: Path, target: Path, settings: dict[str, Any]) -> None:
    """The head of the page with the browser of images in sight, as a PNG with a palette."""
    page = browser.new_context(**settings).new_page()
    page.goto(report.as_uri())
    page.select_option("[data-part=sort]", "iou")
    page.evaluate("document.getElementById('images').scrollIntoView()")
    page.wait_for_function("[...document.querySelectorAll('.tile')].slice(0, 4).every(tile => tile.seen)")
    page.evaluate("Promise.all([...document.querySelectorAll('.tile')].map(draw))")
    Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    main()
