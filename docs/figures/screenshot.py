"""Photograph a page in Chromium: `python docs/figures/screenshot.py PAGE PICTURE`."""

import argparse
import shutil
import subprocess
from pathlib import Path

QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description="Photograph a page in Chromium.")
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path, help="the PNG file to write")
    parser.add_argument("--width", type=int, default=1200)
    parser.add_argument("--height", type=int, default=1400)
    parser.add_argument("--dark", action="store_true", help="as a reader sees it who prefers dark pages")
    given = parser.parse_args()
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no chromium here; on Debian: apt-get install chromium")
    if not given.page.is_file():
        raise SystemExit(f"{given.page}: there is no such page; `make train` writes outputs/sample/report.html")
    options = [*QUIET, *([DARK] if given.dark else []), f"--window-size={given.width},{given.height}"]
    page = given.page.resolve().as_uri()
    done = subprocess.run([browser, *options, f"--screenshot={given.picture.resolve()}", page], capture_output=True,
                          text=True, timeout=120, check=False)  # fmt: skip
    if done.returncode or not given.picture.is_file():
        raise SystemExit(f"{given.picture}: not written; {browser} said:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
