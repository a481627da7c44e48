"""Screenshots of all states of a match, as a person looks at them: ``python -m testkit.shoot_states``.

Each picture is one sheet: all states at one width in one theme, drawn by Chromium from
``testkit.match_states`` with the stylesheet as it is in ``widget/src``. No server runs. The font is what the
machine has for ``system-ui``.
"""

from __future__ import annotations

import argparse
import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from shared_state import DeltaId
from shared_state.view import scoreboard
from testkit.browser import launch
from testkit.match_states import KICKOFF_MS, states
from widget.build.bundle import ROOT, SOURCES

__all__ = ["main", "sheet_html"]

WIDTHS: Final = (320, 390, 1280)
THEMES: Final = ("light", "dark")
# A scoreboard is not wider than this on our own page.
BOARD_MAX: Final = 736
SHEET_WIDTH: Final = {320: 5 * 340, 390: 4 * 410, 1280: 2 * 756}
# The pictures that README.md shows: file, state, width of the window, theme.
PICTURES: Final = (
    ("match-phone-dark.webp", "ruled-out", 390, "dark"),
    ("match-phone-light.webp", "goal", 390, "light"),
    ("match-desktop-light.webp", "final-2018", 1280, "light"),
)
# A tenth of the size of a PNG; the browser is the one encoder that is here anyway.
_AS_WEBP: Final = """async (png) => {
  const bitmap = await createImageBitmap(await (await fetch("data:image/png;base64," + png)).blob());
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const webp = await canvas.convertToBlob({ type: "image/webp", quality: 0.75 });
  return new Uint8Array(await webp.arrayBuffer()).toBase64();
}"""
_PAGE: Final = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
<title>States</title>
<style>{css}
body {{ margin: 0; padding: 10px; background: {ground}; color: {ink}; font: 12px system-ui, sans-serif; }}
main {{ columns: {columns}; column-gap: 20px; }}
figure {{ margin: 0 0 18px; break-inside: avoid; }}
figcaption {{ margin-bottom: 4px; }}
</style><main>{figures}</main>"""


def sheet_html(
    width: int,
    theme: str,
    *,
    only: Sequence[str] = (),
    size: str = "",
    alone: bool = False,
) -> str:
    """A page with the states side by side, each as wide as a window of ``width`` px has it."""
    figures = ""
    for state in states():
        if only and state.name not in only:
            continue
        board = scoreboard(state.match, DeltaId(KICKOFF_MS, 2), before=state.before, now_ms=state.now_ms)
        attributes = f' size="{size}"' if size else ""
        figures += (
            f"<figure>{'' if alone else f'<figcaption>{escape(state.name)}</figcaption>'}"
            f'<live-score data-connection="open"{attributes}>{board}</live-score></figure>'
        )
    return _PAGE.format(
        theme=theme,
        css=(SOURCES / "live-score.css").read_text(encoding="utf-8"),
        ground="#f6f7f9" if theme == "light" else "#0d0f12",
        ink="#16191d" if theme == "light" else "#eef1f4",
        columns=1 if alone else SHEET_WIDTH[width] // (min(width - 32, BOARD_MAX) + 20),
        figures=figures,
    )


def _shoot(browser: Browser, html: str, width: int, target: Path, scale: int = 1) -> None:
    # Motion is reduced: a moment stays as it is shown, so that it can be looked at.
    context = browser.new_context(
        viewport={"width": width, "height": 100}, reduced_motion="reduce", device_scale_factor=scale
    )
    page = context.new_page()
    page.set_content(html)
    picture = base64.b64encode(page.screenshot(full_page=True)).decode()
    target.write_bytes(base64.b64decode(page.evaluate(_AS_WEBP, picture)))
    context.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m testkit.shoot_states")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--width", type=int, choices=WIDTHS, action="append")
    parser.add_argument("--theme", choices=THEMES, action="append")
    parser.add_argument("--state", action="append", default=[], help="default: all")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with launch() as browser:
        for width in options.width or WIDTHS:
            for theme in options.theme or THEMES:
                inner = min(width - 32, BOARD_MAX) + 20
                html = sheet_html(width, theme, only=options.state)
                target = options.out / f"states-{width}-{theme}.webp"
                _shoot(browser, html, SHEET_WIDTH[width] // inner * inner, target)
        if not (options.state or options.width or options.theme):
            for size in ("card", "ticker"):
                html = sheet_html(390, "light", size=size)
                _shoot(
                    browser, html, SHEET_WIDTH[390] // 378 * 378, options.out / f"states-{size}-light.webp"
                )
            for name, state, width, theme in PICTURES:
                html = sheet_html(width, theme, only=[state], alone=True)
                _shoot(browser, html, min(width - 32, BOARD_MAX) + 40, options.out / name, scale=2)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
