"""The scoreboard on pages that are not ours: their colours, their stylesheets, their widths, their readers.

No server runs: each page has the real stylesheet and the view's HTML in a shadow root, as the loader puts
them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from shared_state import DeltaId, Event, Match, apply
from shared_state.view import scoreboard
from testkit.browser import wait_until_true
from testkit.match_states import KICKOFF_MS, State, states
from widget.build.bundle import SOURCES

pytestmark = [pytest.mark.browser]

CSS = (SOURCES / "live-score.css").read_text(encoding="utf-8")
STATES = {state.name: state for state in states()}
AA_TEXT = 4.5

# What WCAG asks of each text: its colour on all grounds below it, one over the other.
CONTRASTS = """(selector) => {
  const root = document.querySelector("live-score").shadowRoot;
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb
    .map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  for (const element of root.querySelectorAll(".tl *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const box = element.getBoundingClientRect();
    const unseen = element.closest("svg, .tl-vh, [hidden]") || box.width <= 1 || !element.checkVisibility();
    if (!text || unseen) continue;
    const grounds = [];
    for (let at = element; at; at = at.parentElement ?? (at.getRootNode().host || null)) {
      grounds.unshift(getComputedStyle(at).backgroundColor);
    }
    const ground = paint(["white", ...grounds]);
    const ink = paint(["white", ...grounds, getComputedStyle(element).color]);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    found.push([ratio, element.className || element.localName, element.textContent.trim()]);
  }
  return found;
}"""


def board(state: State, *, moment: bool = True) -> str:
    before = state.before if moment else None
    return scoreboard(state.match, DeltaId(KICKOFF_MS, 2), before=before, now_ms=state.now_ms)


def put(page: Page, html: str, css: str = "", attributes: str = "", around: str = "") -> None:
    """Show a scoreboard in a shadow root of a page with a stylesheet of its own."""
    page.set_content(
        f"<!doctype html><html lang=en><meta charset=utf-8><style>body{{margin:0}}{css}</style>"
        f"<div {around}><live-score data-connection=open {attributes}></live-score></div>"
    )
    page.evaluate(
        """([css, html]) => {
          const root = document.querySelector("live-score").attachShadow({ mode: "open" });
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(css);
          root.adoptedStyleSheets = [sheet];
          root.innerHTML = html;
        }""",
        [CSS, html],
    )


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    # Reduced motion: a moment has its colours for good, and nothing is half-way.
    context = browser.new_context(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    yield context.new_page()
    context.close()


def computed(page: Page, selector: str, name: str) -> str:
    value: str = page.evaluate(
        "([selector, name]) => getComputedStyle(document.querySelector('live-score').shadowRoot"
        ".querySelector(selector))[name]",
        [selector, name],
    )
    return value


# --- colours ---

BRANDS = (
    "",
    "--tl-ink:#33302e",
    "--tl-ink:#ffffff",
    "--tl-ink:#ff8800",
    "--tl-bg:#fff1e5",
    "--tl-bg:#111111",
    "--tl-bg:#003b70",
    "--tl-bg:#767676",
    "--tl-bg:#c00000",
    "--tl-bg:#ffe000",
    "--tl-bg:transparent",
    "--tl-bg:#fff1e5;--tl-ink:#33302e;--tl-accent:#990f3d",
    "--tl-accent:#ffe000",
    "--tl-accent:#990f3d",
    "--tl-accent:#0000ff",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("brand", BRANDS)
def test_every_text_can_be_read_whatever_colour_a_page_sets(page: Page, brand: str, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    ground = "#ffffff" if scheme == "light" else "#101214"
    if "transparent" in brand and scheme == "dark":
        pytest.skip("the measurement puts white below everything")
    for name in ("goal", "review", "ruled-out", "half-time", "shootout", "postponed", "delayed"):
        put(page, board(STATES[name]), f"body{{background:{ground}}}live-score{{{brand}}}")
        found = page.evaluate(CONTRASTS)
        assert len(found) > 5
        worst = min(found)
        assert worst[0] >= AA_TEXT, f"{name}: {worst}"


def test_a_fresh_row_can_be_read(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    html = board(STATES["live"]).replace("data-side=", "data-fresh data-side=")
    put(page, html, "live-score{--tl-bg:#fff1e5;--tl-ink:#33302e}")
    assert min(page.evaluate(CONTRASTS))[0] >= AA_TEXT


def test_what_is_late_does_not_look_live(page: Page) -> None:
    put(page, board(STATES["live"]))
    live = computed(page, ".tl-chip", "backgroundColor")
    put(page, board(STATES["delayed"]))
    assert computed(page, ".tl-chip", "backgroundColor") != live
    for connection in ("offline", "waiting", "closed"):
        put(page, board(STATES["live"]), attributes="")
        page.evaluate("name => document.querySelector('live-score').dataset.connection = name", connection)
        assert computed(page, ".tl-chip", "backgroundColor") != live


def test_forced_colours_keep_the_live_mark(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    put(page, board(STATES["live"]))
    dot = page.evaluate(
        "() => getComputedStyle(document.querySelector('live-score').shadowRoot.querySelector('.tl-chip'),"
        " '::before').backgroundColor"
    )
    assert dot not in ("rgba(0, 0, 0, 0)", computed(page, ".tl", "backgroundColor"))
    assert computed(page, ".tl-chip", "borderTopStyle") == "solid"


# --- stylesheets ---

HOSTILE = (
    "*{box-sizing:content-box!important;margin:0!important;padding:0!important;"
    "font:bold 40px fantasy!important;"
    "color:#c0c!important;background:#ff0!important;float:left!important;letter-spacing:9px!important;"
    "text-transform:uppercase!important;line-height:3!important;white-space:pre!important;"
    "text-indent:5em!important;"
    "word-spacing:1em!important;text-align:right!important;text-shadow:2px 2px red!important;"
    "display:block!important;direction:rtl!important;visibility:visible!important;list-style:square!important;"
    "hyphens:auto!important;word-break:break-all!important;font-variant:small-caps!important;zoom:1!important}"
)
INHERITED = (
    "html{font-size:62.5%}body{font:italic 3rem/3 Georgia;text-transform:uppercase;letter-spacing:.25em;"
    "word-spacing:1em;text-indent:3em;white-space:pre;text-shadow:2px 2px 3px red;word-break:break-all;"
    "text-align:right;hyphens:auto;cursor:none;-webkit-text-stroke:1px red;"
    "font-variant:small-caps;quotes:none}"
)
BOXES = """() => {
  const host = document.querySelector("live-score"), at = host.getBoundingClientRect();
  const seen = [...host.shadowRoot.querySelectorAll(".tl, .tl *")].filter((one) => one.checkVisibility());
  return seen.map((element) => {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    const places = [box.x - at.x, box.y - at.y, box.width, box.height].map((number) => Math.round(number));
    const { color, fontSize } = style;
    return [element.localName, element.getAttribute("class"), ...places, color, fontSize].join(" ");
  });
}"""


@pytest.mark.parametrize("css", [HOSTILE, INHERITED, "html{direction:rtl}"])
def test_a_pages_stylesheet_changes_nothing_within(page: Page, css: str) -> None:
    width = "live-score{width:358px!important}"
    for name in ("second-half", "shootout", "ruled-out"):
        put(page, board(STATES[name]), width)
        plain = page.evaluate(BOXES)
        put(page, board(STATES[name]), css + width)
        assert page.evaluate(BOXES) == plain


def test_the_size_of_text_is_not_the_roots(page: Page) -> None:
    for root in ("62.5%", "100%", "200%"):
        put(page, board(STATES["live"]), f"html{{font-size:{root}}}")
        assert computed(page, ".tl", "fontSize") == "15px"
    put(page, board(STATES["live"]), "live-score{--tl-font-size:18px}")
    assert computed(page, ".tl", "fontSize") == "18px"


@pytest.mark.parametrize(
    "css", ["live-score{float:left}", "live-score{display:inline-block}", "div{display:flex}"]
)
def test_a_place_as_wide_as_its_content_is_not_without_width(page: Page, css: str) -> None:
    put(page, board(STATES["live"]), css)
    assert page.evaluate("document.querySelector('live-score').offsetWidth") >= 180


def test_a_page_may_style_the_parts(page: Page) -> None:
    rules = "live-score::part(score){color:rgb(1, 2, 3)}live-score::part(row){padding:1px}"
    put(page, board(STATES["second-half"]), rules)
    assert computed(page, ".tl-score", "color") == "rgb(1, 2, 3)"
    assert computed(page, ".tl-row", "paddingTop") == "1px"
    parts = page.evaluate(
        "[...new Set([...document.querySelector('live-score').shadowRoot.querySelectorAll('[part]')]"
        ".map((element) => element.getAttribute('part')))].sort()"
    )
    assert parts == [
        *("board", "chip", "crest", "events", "foot", "lineups", "name", "row", "score", "stats", "team"),
        "timeline",
    ]


# --- widths and sizes ---

# Elements that stick out of the scoreboard, and words of names that stick out of their place.
OVERFLOW = """() => {
  const root = document.querySelector("live-score").shadowRoot;
  const edge = root.querySelector(".tl").getBoundingClientRect();
  const out = [];
  for (const element of root.querySelectorAll(".tl *")) {
    const box = element.getBoundingClientRect();
    const hidden = [".tl-vh", ".tl-name", ".tl-side"].some((name) => {
      const around = element.closest(name);
      return around && getComputedStyle(around).position === "absolute";
    });
    if (hidden || element.closest("svg") || !element.checkVisibility() || box.width <= 1) continue;
    if (box.right > edge.right + 1 || box.left < edge.left - 1) {
      out.push(element.className || element.localName);
    }
  }
  for (const name of root.querySelectorAll(".tl-short, .tl-wide")) {
    if (name.checkVisibility() && name.scrollWidth > name.clientWidth + 1) out.push(name.textContent);
  }
  return out;
}"""


@pytest.mark.parametrize("width", [200, 288, 358, 736])
@pytest.mark.parametrize("size", ["", "card", "ticker"])
def test_nothing_sticks_out_at_any_width(page: Page, width: int, size: str) -> None:
    for state in STATES.values():
        if size == "ticker" and (width < 288 or state.name == "long-names"):
            continue  # a ticker is one line, and has to have room for it
        put(page, board(state), f"live-score{{width:{width}px}}", f"size={size}" if size else "")
        assert page.evaluate(OVERFLOW) == [], f"{state.name} at {width}"


def test_text_of_200_per_cent_is_not_clipped(page: Page) -> None:
    for state in STATES.values():
        put(page, board(state), "live-score{width:358px;--tl-font-size:30px}")
        assert page.evaluate(OVERFLOW) == [], state.name


@pytest.mark.parametrize("width", [288, 358, 736])
def test_both_names_stand_on_one_line(page: Page, width: int) -> None:
    for state in STATES.values():
        put(page, board(state), f"live-score{{width:{width}px}}")
        tops = page.evaluate(
            """() => [...document.querySelector("live-score").shadowRoot.querySelectorAll(".tl-team")].map(
              (team) => [...team.querySelectorAll(".tl-short, .tl-wide, .tl-name")]
                .filter((name) => name.checkVisibility() && name.getBoundingClientRect().width > 1)
                .map((name) => Math.round(name.getBoundingClientRect().top)))"""
        )
        assert [len(seen) for seen in tops] == [1, 1], state.name
        assert tops[0] == tops[1], state.name


def test_sizes_show_what_they_are_for(page: Page) -> None:
    def seen(size: str) -> list[str]:
        put(page, board(STATES["second-half"]), attributes=f"size={size}" if size else "")
        found: list[str] = page.evaluate(
            "['.tl-board', '.tl-players', '.tl-strip', '.tl-log', '.tl-stats', '.tl-lineups'].filter("
            "(name) => document.querySelector('live-score').shadowRoot.querySelector(name).checkVisibility())"
        )
        return found

    everything = [".tl-board", ".tl-players", ".tl-strip", ".tl-log", ".tl-stats", ".tl-lineups"]
    assert seen("") == seen("full") == everything
    assert seen("card") == everything[:3]
    assert seen("ticker") == everything[:1]
    assert page.evaluate("document.querySelector('live-score').offsetHeight") == 42


def test_without_its_stylesheet_no_picture_fills_the_page(page: Page) -> None:
    page.set_content(f"<!doctype html><live-score>{board(STATES['second-half'])}</live-score>")
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg:not(svg svg)')].map("
        "(picture) => picture.getBoundingClientRect().height)"
    )
    assert len(sizes) > 20
    assert max(sizes) <= 48


# --- crests ---


def with_crest(url: str, code: str) -> Match:
    sheet = {"name": "France", "code": code, "crest": url}
    detail = {"home": sheet, "away": {"name": "Croatia", "code": "CRO"}}
    info = {"match_id": "m", "event_id": "i", "rev": 1, "op": "ADD", "type": "MATCH_INFO", "detail": detail}
    return apply(Match(match_id="m"), Event.from_json(info))


def crest(page: Page, code: str, *, missing: bool) -> bytes:
    """A picture of a crest, whose image comes or does not."""
    page.unroute("**/*")
    square = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path fill="#0f0" d="M2 2h5v5H2z"/></svg>'
    )
    page.route(
        "https://crests.example/*",
        lambda route: route.abort() if missing else route.fulfill(body=square, content_type="image/svg+xml"),
    )
    # Each under its own address: an image that is in the browser's memory always comes.
    url = f"https://crests.example/{'missing' if missing else 'here'}.svg"
    put(page, scoreboard(with_crest(url, code), DeltaId(1, 1)))
    image = "document.querySelector('live-score').shadowRoot.querySelector('.tl-badge')"
    wait_until_true(page, f"{image}.complete", 5_000)
    return page.locator("live-score .tl-home .tl-crest").screenshot()


def test_a_crest_that_does_not_come_leaves_its_letters(page: Page) -> None:
    shown, missing = crest(page, "FRA", missing=False), crest(page, "FRA", missing=True)
    assert shown == crest(page, "XYZ", missing=False)
    # The letters are drawn: others are another picture.
    assert missing not in (shown, crest(page, "XYZ", missing=True))
