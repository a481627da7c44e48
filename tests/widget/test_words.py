"""The texts that scripts write: the same as the view's, in every language."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared_state.catalogues.en import TEXTS
from shared_state.language import filled
from shared_state.languages import LANGUAGES, language_of
from testkit.built_widget import DIST, manifest, run_node

OTHERS = [tag for tag in LANGUAGES if tag != "en"]
TAGS = [
    "de",
    "de-AT",
    "de_AT",
    "DE",
    "de-AT-1996",
    "en_US",
    "en-GB",
    "xx",
    "sv",
    "",
    "constructor",
    "ar",
    "x" * 10_000,
]


def catalogue(tag: str) -> Any:
    return json.loads((DIST / manifest()["files"][f"catalogue-{tag}.json"]["path"]).read_bytes())


def test_the_loader_has_the_english_of_the_catalogue() -> None:
    own: dict[str, Any] = run_node('import { ENGLISH } from "./words.js"; print(ENGLISH);')
    assert own == {key: TEXTS[key] for key in own}
    assert {key for key in TEXTS if key.startswith("client.")} <= set(own)


@pytest.mark.parametrize("tag", OTHERS)
def test_a_catalogue_is_built_for_each_language_but_english(tag: str) -> None:
    built = catalogue(tag)
    assert built == {"dir": LANGUAGES[tag].direction, "texts": LANGUAGES[tag].texts}
    assert "catalogue-en.json" not in manifest()["files"]


def test_both_sides_choose_the_same_language_and_a_locale_that_intl_takes() -> None:
    script = """
        import { chosen } from "./language.js";
        print(input.tags.map((tag) => {
          const { tag: language, locale } = chosen(tag, input.others);
          return [language, new Date(0).toLocaleString(locale, { timeZone: "UTC" }).length > 0];
        }));
    """
    found = run_node(script, {"tags": TAGS, "others": OTHERS})
    assert found == [[language_of(tag).tag, True] for tag in TAGS]


def test_a_tag_that_intl_refuses_throws_nothing() -> None:
    script = """
        import { chosen } from "./language.js"; import { localTime } from "./wording.js";
        const year = { timeZone: "UTC", year: "numeric" };
        print(input.map((tag) => localTime(0, chosen(tag, ["de"]).locale, year)));
    """
    found = run_node(script, ["de-", "de-!!", "de--x", "en-\0", "de-AT-1996", "e"])
    assert all("1970" in text for text in found)


@pytest.mark.parametrize("tag", LANGUAGES)
def test_both_sides_write_the_same(tag: str) -> None:
    language = LANGUAGES[tag]
    script = """
        import { Words } from "./words.js";
        const words = new Words(input.tag, "ltr", input.texts);
        const values = new Proxy({}, { get: (_, name) => `<${String(name)}>` });
        print({
          texts: input.keys.map((key) => words.text(key, values)),
          counted: input.counted.map((key) => input.numbers.map((n) => words.counted(key, n))),
        });
    """
    keys = [key for key, text in language.texts.items() if isinstance(text, str)]
    counted = [key for key, text in language.texts.items() if not isinstance(text, str)]
    numbers = [*range(120), 1_000_000]
    asked = {"tag": tag, "texts": language.texts, "keys": keys, "counted": counted, "numbers": numbers}
    written = run_node(script, asked)

    class Named(dict[str, str]):
        def __missing__(self, name: str) -> str:
            return f"<{name}>"

    assert written["texts"] == [filled(str(language.texts[key]), Named()) for key in keys]
    assert written["counted"] == [[language.counted(key, n) for n in numbers] for key in counted]


@pytest.mark.parametrize("tag", OTHERS)
def test_an_age_is_in_the_language(tag: str) -> None:
    script = """
        import { Words } from "./words.js"; import { ageText } from "./wording.js";
        const words = new Words(input.tag, "ltr", input.texts);
        const ages = [1_000, 60_000, 300_000, 3_600_000, 90_000_000];
        print(ages.map((ms) => ageText(0, ms, words, input.tag)));
    """
    for text in run_node(script, {"tag": tag, "texts": LANGUAGES[tag].texts}):
        assert text
        assert not {"Not", "ago", "As", "less"} & set(text.replace(",", " ").split())
