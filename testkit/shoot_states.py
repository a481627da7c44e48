"""Screenshots of all states of a match, as a person looks at them: ``python -m testkit.shoot_states``.

Each picture is one sheet: all states at one width in one theme, drawn by Chromium from
``testkit.match_states`` with the stylesheet as it is in ``widget/src``. No server runs. The font is what the
machine has for ``system-ui``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from shared_state import DeltaId
from shared_state.view import scoreboard
from testkit.browser import launch
from testkit.match_states import KICKOFF_MS, State, states
from widget.build.bundle import ROOT, SOURCES

__all__ = ["main", "sheet_html"]

WIDTHS: Final = (320, 390, 1280)
THEMES: Final = ("light", "dark")
# A scoreboard is not wider than this on our own page.
BOARD_MAX: Final = 736
SHEET_WIDTH: Final = {320: 5 * 340, 390: 4 * 410, 1280: 2 * 756}
_PAGE: Final = """<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">
<title>States</title>
<style>{css}
body {{ margin: 0; padding: 10px; background: {ground}; color: {ink}; font: 12px system-ui, sans-serif; }}
main {{ columns: {columns}; column-gap: 20px; }}
figure {{ margin: 0 0 18px; break-inside: avoid; }}
figcaption {{ margin-bottom: 4px; }}
{more}</style><main>{figures}</main>"""


def sheet_html(
    width: int,
    theme: str,
    *,
    only: Sequence[str] = (),
    size: str = "",
    more: str = "",
    found: Sequence[State] = (),
) -> str:
    """A page with the states side by side, each as wide as a window of ``width`` px has it."""
    figures = ""
    for state in found or states():
        if only and state.name not in only:
            continue
        board = scoreboard(state.match, DeltaId(KICKOFF_MS, 2), before=state.before, now_ms=state.now_ms)
        attributes = f' size="{size}"' if size else ""
        figures += (
            f"<figure><figcaption>{escape(state.name)}</figcaption>"
            f'<live-score data-connection="open"{attributes}>{board}</live-score></figure>'
        )
    return _PAGE.format(
        theme=theme,
        css=(SOURCES / "live-score.css").read_text(encoding="utf-8"),
        ground="#f6f7f9" if theme == "light" else "#0d0f12",
        ink="#16191d" if theme == "light" else "#eef1f4",
        columns=SHEET_WIDTH[width] // (min(width - 32, BOARD_MAX) + 20),
        figures=figures,
        more=more,
    )


def _shoot(browser: Browser, html: str, width: int, target: Path) -> None:
    # Animations run to their end at once: what stays is looked at.
    context = browser.new_context(viewport={"width": width, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    page.set_content(html)
    page.screenshot(path=str(target), full_page=True)
    context.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m testkit.shoot_states")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--width", type=int, choices=WIDTHS, action="append")
    parser.add_argument("--theme", choices=THEMES, action="append")
    parser.add_argument("--state", action="append", default=[])
    parser.add_argument("--size", choices=("ticker", "card", "full"), default="")
    parser.add_argument("--css", default="", help="more rules, after the stylesheet")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    with launch() as browser:
        for width in options.width or WIDTHS:
            for theme in options.theme or THEMES:
                html = sheet_html(width, theme, only=options.state, size=options.size, more=options.css)
                name = f"states-{options.size + '-' if options.size else ''}{width}-{theme}.png"
                inner = min(width - 32, BOARD_MAX) + 20
                _shoot(browser, html, SHEET_WIDTH[width] // inner * inner, options.out / name)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
