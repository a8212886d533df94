from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.evaluation.cases import case, explained
from ultra_agents.evaluation.page import CARDS, LONGEST, duration, minus, said
from ultra_agents.evaluation.report import ReportInputs, build_report, render_html
from ultra_agents.records import Narration, Note, Segment, TestResult

Make = Callable[..., ReportInputs]
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'><style>*{display:none}</style>"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; remembers what was left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.crossed: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.crossed.append(tag)

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(inputs: ReportInputs) -> str:
    return render_html(build_report(inputs), frames=inputs.frames, narrations=inputs.narrations)


def test_the_page_tells_the_whole_story(make_inputs: Make) -> None:
    inputs = make_inputs()
    page = Page(page_of(inputs))
    assert (page.open, page.crossed) == ([], [])
    headline = build_report(inputs)["headline"]
    assert minus(headline) in page.text
    for words in (
        "ONE training seed (7)", "nothing about other training seeds", "something odd", "charged to the methods",
        "continued PPO", "starting policy", "Advice precision 33 %", "no gain", "STAY → UP", "held for 4 steps",
        "move now", "plausible", "in 12 paired replays", "identifier", "350 tokens", "refine:continue",
        "ultra run examples/pong.yaml", inputs.config_hash, "step 24: ball at (3, 4)", "3.11", "512 MiB",
    ):  # fmt: skip
        assert words in page.text, words


def test_the_page_asks_for_nothing_from_anywhere(make_inputs: Make) -> None:
    html = page_of(make_inputs())
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "iframe", "object", "embed", "base", "form"}]
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in {"src", "href", "xlink:href", "srcset", "action"}:
                assert value is not None
                assert value.startswith(("#", "data:image/png;base64,"))
            assert not name.startswith("on")
    assert "@import" not in html
    assert not re.findall(r"url\((?!#)", html)
    assert "http://" not in html
    assert "https://" not in html
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_hostile_words_stay_words(make_inputs: Make) -> None:
    clean = make_inputs()
    segment = Segment(0, 0, 60, HOSTILE)
    state = case(test=None, rationale=HOSTILE, advice=HOSTILE, critique=HOSTILE, action=HOSTILE)
    note = Note("advise", HOSTILE, HOSTILE)
    inputs = make_inputs(
        explanations=[explained(state, notes=(note,), segment=segment, source=HOSTILE)],
        narrations={segment.name: Narration(segment, HOSTILE, (), 1)},
        warnings=[HOSTILE],
        versions={HOSTILE: HOSTILE},
        command=HOSTILE,
    )
    page, before = Page(page_of(inputs)), Page(page_of(clean))
    assert (page.open, page.crossed) == ([], [])
    assert "alert('x')" in page.text
    assert not any(tag == "script" for tag, _ in page.tags)
    for tag in ("style", "img"):
        assert sum(t == tag for t, _ in page.tags) == sum(t == tag for t, _ in before.tags)


def test_empty_runs_have_a_page_too(make_inputs: Make) -> None:
    bare = make_inputs(
        results=(), explanations=(), narrations={}, usage={}, frames={}, env_steps_by_purpose={}, table={}, command="",
        started="", finished="", seconds_by_stage={}, reference=None, peak_memory_mb=None, warnings=(), versions={},
    )  # fmt: skip
    page = Page(page_of(bare))
    assert (page.open, page.crossed) == ([], [])
    assert "Nothing was refined" in page.text
    assert "No suggestion was accepted. None was made." in page.text
    assert "No language model was asked." in page.text


def test_an_unknown_radius_and_untested_advice(make_inputs: Make) -> None:
    inputs = make_inputs(explanations=[explained(case(test=None))], table={"entries": 1, "radius": None})
    text = Page(page_of(inputs)).text
    assert "Not tested in the simulator." in text
    assert "The table has 1 entry." in text


def test_many_suggestions_show_the_largest_gains_first(make_inputs: Make) -> None:
    tests = [TestResult(0.1 * k, 0.01, 0.1 * k + 1, 8, 10, True, "good") for k in range(CARDS + 5)]
    inputs = make_inputs(explanations=[explained(*(case(step, test) for step, test in enumerate(tests)))])
    html = page_of(inputs)
    assert html.count('<article class="card') == CARDS
    assert f"The {CARDS} of {CARDS + 5} accepted suggestions" in Page(html).text
    shown = [int(step) for step in re.findall(r"Episode 0, step (\d+) ·", html)]
    assert shown == list(range(CARDS + 4, 4, -1))


def test_a_bad_frame_costs_its_picture_not_the_report(make_inputs: Make) -> None:
    good = Page(page_of(make_inputs()))
    assert sum(tag == "img" for tag, _ in good.tags) == 1
    bad = Page(page_of(make_inputs(frames={(0, 24): np.zeros((4, 4))})))
    assert sum(tag == "img" for tag, _ in bad.tags) == 0
    assert "STAY → UP" in bad.text


def test_the_page_adapts_to_dark_paper_and_phones(make_inputs: Make) -> None:
    html = page_of(make_inputs())
    assert "@media screen and (prefers-color-scheme: dark)" in html
    assert "@media print" in html
    assert 'name="viewport"' in html
    # Every chart is drawn for a wide and for a narrow page.
    assert html.count("<svg") == 4


def test_words_are_cleaned_and_cut() -> None:
    assert said("a\u202eb\x00c\nd") == "abc\nd"
    assert len(said("x" * 9999)) == LONGEST + 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (3.21, "3.2 s"), (48.4, "48 s"), (200, "3 min 20 s"), (3900, "1 h 5 min")]
)  # fmt: skip
def test_durations_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_minus_signs_only_before_numbers() -> None:
    assert (
        minus("from -3.1 to 2 [-0.2, 3.0] of ultra-ra at 0:12-72")
        == "from −3.1 to 2 [−0.2, 3.0] of ultra-ra at 0:12-72"
    )
