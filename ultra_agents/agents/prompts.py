"""The prompts in `ultra_agents_prompts`: Markdown with front matter, filled by `string.Template`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from ultra_agents.contracts import Brief
from ultra_agents.errors import ConfigError
from ultra_agents.text import valid_text
from ultra_agents.yaml_text import YamlError, read_yaml

Message = tuple[str, str]
"""Role (`system` or `user`) and text."""

PROMPTS = ("opening", "identifier", "advisor", "critic", "rewards", "reflection")
RULES_PROMPTS = (
    "rules_opening", "rules_language", "rules_identifier", "rules_advisor", "rules_advisor_atoms", "rules_critic",
    "rules_critic_atoms", "rules_reflection",
)  # fmt: skip
TOOLS_PROMPTS = ("tools",)
GOALS_PROMPTS = ("goals_advisor",)
_SHAPE = re.compile(r"\A---\n(?P<front>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_SECTION = re.compile(r"^## (system|user)\n", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """One prompt file.

    Attributes:
        name: File name without `.md`.
        version: Raised with every change of the text.
        variables: The `$names` it needs, no more and no fewer.
        reply: What the agent answers, in a line.
        sections: `(role, template)` in order.
    """

    name: str
    version: int
    variables: frozenset[str]
    reply: str
    sections: tuple[Message, ...]

    def fill(self, **values: object) -> list[Message]:
        """The messages; lines left empty by empty variables are closed up.

        Raises:
            ConfigError: A variable is missing, or one is given that the prompt does not use.
        """
        if set(values) != self.variables:
            raise ConfigError(
                f"the prompt {self.name!r} is filled with the wrong variables",
                found=", ".join(sorted(values)),
                expected=", ".join(sorted(self.variables)),
            )
        words = {name: str(value).strip() for name, value in values.items()}
        return [(role, _fill(template, words)) for role, template in self.sections]


def _fill(template: str, words: Mapping[str, str]) -> str:
    lines = []
    for line in template.splitlines():
        used = Template(line).get_identifiers()
        if used and not any(words[name] for name in used):
            continue  # a line about something there is nothing to say about
        lines.append(Template(line).substitute(words))
    return "\n".join(lines).strip()


def parse_prompt(name: str, text: str) -> Prompt:
    """Read one prompt file.

    Raises:
        ConfigError: No front matter or sections, no YAML, or the variables named are not those used.
    """
    match = _SHAPE.match(text.replace("\r\n", "\n"))
    if match is None:
        raise ConfigError(f"the prompt {name!r} has no front matter", expected="--- version, variables, reply ---")
    try:
        front, _ = read_yaml(f"---\n{match['front']}", name)
        version, variables, reply = int(front["version"]), frozenset(front["variables"]), str(front["reply"])
    except (YamlError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"the front matter of the prompt {name!r} cannot be used",
            found=error.problem if isinstance(error, YamlError) else f"{type(error).__name__}: {error}",
            expected="version (a number), variables (a list), reply (a line)",
        ) from error
    _, *parts = _SECTION.split(match["body"])
    sections = tuple((role, body.strip()) for role, body in zip(parts[::2], parts[1::2], strict=True))
    if not sections:
        raise ConfigError(f"the prompt {name!r} says nothing", expected="a section ## system or ## user")
    broken = [role for role, body in sections if not Template(body).is_valid()]
    used = {variable for _, body in sections for variable in Template(body).get_identifiers()}
    if broken or used != variables:
        raise ConfigError(
            f"the variables of the prompt {name!r} are not those its text uses",
            found="a lone $ in the text" if broken else ", ".join(sorted(used)),
            expected=", ".join(sorted(variables)),
        )
    return Prompt(name, version, variables, reply, sections)


@cache
def load_prompt(name: str) -> Prompt:
    """One of the installed prompts."""
    return parse_prompt(name, files("ultra_agents_prompts").joinpath(f"{name}.md").read_text(encoding="utf-8"))


def opening(brief: Brief, narration: str, effects: str = "") -> str:
    """The message every conversation about a segment begins with: the brief, what actions do, then the narration."""
    ((_, text),) = load_prompt("opening").fill(
        goal=brief.goal,
        dynamics=brief.dynamics,
        actions=brief.actions,
        reward=brief.reward,
        termination=brief.termination,
        advice_scale=brief.advice_scale,
        effects=effects,
        narration=narration,
    )
    return valid_text(text)


@cache
def fingerprint(names: tuple[str, ...] = PROMPTS) -> str:
    """Changes with any word of any of these prompts: twelve hex digits."""
    text = repr([load_prompt(name).sections for name in names])
    return hashlib.sha256(text.encode()).hexdigest()[:12]
