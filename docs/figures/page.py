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
    "page": {"viewport": {"width": 1180, "height": 780}, "color_scheme": "light"},
    "page_dark": {"viewport": {"width": 1180, "height": 780}, "color_scheme": "dark"},
    "page_phone": {"viewport": {"width": 390, "height": 780}, "color_scheme": "light"},
}
COLOURS = 100
"""Of the palette, beside OWN: a third of the bytes."""
OWN = (230, 159, 0, 86, 180, 233, 47, 107, 208, 122, 167, 240)
"""Colours of the page's lines, which are too thin to be chosen."""


def main() -> None:
    """Draw all pictures, or say what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, default=HERE.parents[1] / "outputs" / "sample" / "report.html")
    report = parser.parse_args().report.resolve()
    chromium = shutil.which("chromium")
    if not report.exists() or chromium is None:
        missing = f"{report} is not there: make train" if chromium else "there is no chromium: apt-get install chromium"
        sys.stderr.write(f"The pictures of the page stay as they are. {missing}\n")
        return
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=OPTIONS)
        for name, settings in SHOTS.items():
            photograph(browser, report, HERE / f"{name}.png", settings)
        browser.close()


def photograph(browser: Any, report: Path, target: Path, settings: dict[str, Any]) -> None:
    """The browser of images, as a PNG with a palette."""
    page = browser.new_context(**settings).new_page()
    page.goto(report.as_uri())
    page.click('[data-kind="boundary"]')
    page.select_option("[data-part=coverage]", "5")  # a fifth to two fifths of the image: shapes that one sees whole
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    page.evaluate("document.getElementById('images').scrollIntoView()")
    page.evaluate("Promise.all([...document.querySelectorAll('.tile')].map(draw))")
    image = Image.open(BytesIO(page.screenshot())).convert("RGB")
    palette = Image.new("P", (1, 1))
    palette.putpalette([*image.quantize(COLOURS).getpalette()[: 3 * COLOURS], *OWN])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
