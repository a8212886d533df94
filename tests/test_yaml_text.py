"""YAML is read by YAML 1.2's rules wherever it comes from, in bounds, and refused with line and column."""

from __future__ import annotations

import contextlib
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultra_agents.agents.prompts import parse_prompt
from ultra_agents.config import load_config
from ultra_agents.errors import ConfigError
from ultra_agents.experiments.spec import load_experiment
from ultra_agents.yaml_text import YamlError, read_setting, read_yaml, write_yaml

CONFIG = "environment: {name: gymnasium:CartPole-v1, options: {kwargs: {goal: 1e-2}}}\npolicy: {train_steps: 1000}\n"
TWICE = CONFIG + "refine:\n  steps: 10\nevaluate: {episodes: 2}\nrefine:\n  num_envs: 4\n"


def read(text: str) -> Any:
    return read_yaml(text, "it")[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-2", 0.01), ("1E5", 100_000.0), ("-1e3", -1000.0), (".5", 0.5), ("1.", 1.0), ("+7", 7), ("010", 10),
        ("0x1f", 31), ("0o17", 15), ("1_000_000", 1_000_000), ("-.inf", -math.inf), ("true", True), ("FALSE", False),
        ("~", None), ("no", "no"), ("on", "on"), ("1:30", "1:30"), ("2026-11-28", "2026-11-28"), ("1e", "1e"),
        ("_1", "_1"), (".", "."), ("-", [None]), ("'1e-2'", "1e-2"), ('"true"', "true"), ("١", "١"), ("0o9", "0o9"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read(text)
    assert (type(found), found) == (type(value), value)


def test_keys_are_text_and_aliases_give_copies() -> None:
    found = read("on: &a {x: [1]}\n1: *a\nnull: {<<: *a, y: 2}\nboth: {x: 0, <<: [*a, {z: 3}]}\nw: &s 5\nv: *s\n")
    assert found == {
        "on": {"x": [1]}, "1": {"x": [1]}, "null": {"x": [1], "y": 2}, "both": {"x": 0, "z": 3}, "w": 5, "v": 5,
    }  # fmt: skip
    found["on"]["x"].append(2)
    assert found["1"] == {"x": [1]}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(30)
)


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("a: 1\nb:\n  c: 2\n  d: 3\n  c: 4\n", "a key is given twice, before in line 3", (5, 3)),
        ("1: a\n'1': b\n", "a key is given twice, before in line 1", (2, 2)),
        (BOMB, "too many values", (5, 45)),
        ("a: &a [*a]", "there is no such anchor before this alias", (1, 8)),
        ("a: *b", "there is no such anchor before this alias", (1, 4)),
        ("a: {<<: 1}", "<< takes a mapping", (1, 9)),
        ("a: !!python/name:os.system x", "tags are not allowed", (1, 4)),
        ("a: " + "[" * 500, "nested too deeply", (1, 35)),
        ("? [a]\n: 1", "a key must be a word", (1, 3)),
        ("a: 1\nb: [2", "this is not YAML", (2, 6)),
        ("a: b: c", "this is not YAML", (1, 5)),
        ("a: 1\nb: \0", "this is not YAML: the character '\\x00' is not allowed", (2, 4)),
        ("a: 1\n---\nb: 2", "there is not one document", (None, None)),
        ("", "there is not one document", (None, None)),
        ("#" * 1_000_001, "the text is too long", (None, None)),
        ('"\\UFFFFFFFF"', "this is not YAML", (None, None)),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1", "this is not YAML", (None, None)),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_is_refused(text: str, problem: str, place: tuple[int | None, int | None]) -> None:
    with pytest.raises(YamlError) as caught:
        read(text)
    error = caught.value
    assert problem in error.problem.replace("\\\\", "\\")
    assert (error.line, error.column) == place
    assert error.problem.startswith("it: " if place == (None, None) else "it")
    assert place == (None, None) or f" (line {place[0]}, column {place[1]}): " in error.problem
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.line) == (YamlError, str(error), error.line)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from(["1e-2", "no", "1_000", "0x1", ".5", "<<", "~", "1:30", "*a", "1e5", "\x85", "a\u2028b"]),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text().filter(lambda k: k != "<<"), one, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(PLAIN, st.sampled_from([None, True, False]))
def test_what_is_written_is_read_again(data: Any, flow: bool | None) -> None:
    assert read(write_yaml(data, flow=flow)) == data


def test_shared_data_is_written_out() -> None:
    shared = {"x": [1]}
    assert "&" not in write_yaml([shared, shared])


@given(st.text(alphabet=st.sampled_from("{}[],:-?&*!%|>'\"#@~<=\n\t ax1.")))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(YamlError):
        read(text)


def test_values_of_settings() -> None:
    assert read_setting("a.b=1e-2", "x=1") == ("a.b", 0.01)
    assert read_setting("a=", "x=1") == ("a", None)
    assert read_setting("base_url=http://127.0.0.1:8000/v1", "x=1") == ("base_url", "http://127.0.0.1:8000/v1")
    assert read_setting("a={b: [1e3, no]}", "x=1") == ("a", {"b": [1000.0, "no"]})
    with pytest.raises(ConfigError, match=r"--set takes key=value"):
        read_setting("a", "x=1")
    with pytest.raises(YamlError, match=r"--set a \(line 1, column 7\): a key is given twice"):
        read_setting("a={b: 1,b: 2}", "x=1")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
def test_a_configuration_in_any_unicode_is_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.yaml"
    text = CONFIG + "name: one\n# größe\n"
    path.write_bytes(("\ufeff" + text).encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding))
    config = load_config(path, ["environment.options.kwargs.speed=5e-1"])
    assert config.environment.options["kwargs"] == {"goal": 0.01, "speed": 0.5}
    assert config.name == "one"
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml())
    assert load_config(again) == config


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(CONFIG.encode("utf-16-le"))
    with pytest.raises(ConfigError, match=r"c\.yaml \(line 1, column 2\): this is not YAML: the character"):
        load_config(path)
    path.write_bytes(CONFIG.encode() + b"name: \xe9")
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*c\.yaml"):
        load_config(path)
    with pytest.raises(ConfigError, match=r"cannot read the configuration"):
        load_config(tmp_path)


def test_a_section_twice_names_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(TWICE)
    for load in (load_config, load_experiment):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert caught.value.problem == f"{path} (line 6, column 1): a key is given twice, before in line 3"
        assert caught.value.found == "'refine'"
        assert caught.value.exit_code == 2


def test_a_prompt_with_a_key_twice_is_refused() -> None:
    text = "---\nversion: 1\nversion: 2\nvariables: []\nreply: a line\n---\n## user\nhello\n"
    with pytest.raises(ConfigError, match="the front matter of the prompt 'p' cannot be used") as caught:
        parse_prompt("p", text)
    assert caught.value.found == "p (line 3, column 1): a key is given twice, before in line 2"
