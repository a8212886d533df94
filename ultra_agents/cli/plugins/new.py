"""`ultra plugins new`: a complete distribution to start a plugin from, which passes its own test at once."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ultra_agents.registry import Kind

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 40


class NewKind(enum.StrEnum):
    """What can be started."""

    environment = "environment"
    algorithm = "algorithm"
    llm = "llm"
    policy_format = "format"
    method = "method"


def plugins_new(
    kind: Annotated[NewKind, typer.Argument(help="What to write.", show_default=False)],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Its name in configurations: small letters, digits, single hyphens.")
    ],
    path: Annotated[Path, typer.Option(help="Folder in which the distribution's own folder is made.")] = Path("."),
) -> None:
    """Write a new plugin: an installable distribution with one module and one conformance test.

    It works as it is; change it from there.
    """
    from rich.text import Text

    from ultra_agents.cli.console import out

    folder = write_plugin(kind.value, name, path)
    console = out()
    console.print(Text.assemble("wrote ", (str(folder), "bold")))
    for file in sorted(folder.iterdir()):
        console.print(Text(f"  {file.name}"))
    console.print(Text.assemble("\nnext:\n", (f"  pip install -e {folder}\n  ultra plugins check {name}", "bold")))
    if kind is NewKind.environment:
        console.print(Text(f"then change what is marked CHANGE in {folder / (_words(name)['module'] + '.py')}"))


def write_plugin(kind: Kind, name: str, path: Path) -> Path:
    """Write the distribution `path/ultra-agents-<name>` atomically.

    Raises:
        PluginError: A bad or taken name, a folder that exists, a place that cannot be written.
    """
    import shutil
    import tempfile

    from ultra_agents.errors import PluginError

    _usable(kind, name)
    words = _words(name)
    folder = path / words["distribution"]
    if folder.exists() or folder.is_symlink():
        raise PluginError(
            f"{folder} exists already; nothing was written",
            expected="a folder that does not exist yet",
            hint="choose another NAME, or another place with --path DIR",
        )
    draft: Path | None = None
    try:
        path.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=path))
        draft.chmod(0o755)
        for file, text in render(kind, words).items():
            (draft / file).write_text(text, encoding="utf-8")
        draft.rename(folder)
    except OSError as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        raise PluginError(
            f"cannot write {folder}",
            found=str(error),
            expected="a place that can be written",
            hint="choose another with --path DIR",
        ) from error
    return folder


def render(kind: Kind, words: dict[str, str]) -> dict[str, str]:
    """File names and their texts for a new plugin of this kind."""
    from importlib.resources import files

    from jinja2 import Environment, StrictUndefined

    engine = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    names = {"module.py": f"{words['module']}.py", "test.py": f"test_{words['module']}.py"}
    made = {}
    for template in sorted(files("ultra_agents.testing").joinpath("templates", kind).iterdir(), key=lambda t: t.name):
        plain = template.name.removesuffix(".j2")
        made[names.get(plain, plain)] = engine.from_string(template.read_text(encoding="utf-8")).render(words)
    return made


def _usable(kind: Kind, name: str) -> None:
    from ultra_agents.errors import PluginError
    from ultra_agents.registry import catalogue

    if not NAME.fullmatch(name) or len(name) > LONGEST:
        wish = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-0123456789")
        raise PluginError(
            f"{name!r} cannot be the name of a plugin",
            expected=f"small letters, digits and single hyphens, a letter first, at most {LONGEST} characters",
            hint=f"for example {wish[:LONGEST].strip('-')!r}" if wish else None,
        )
    for row in catalogue():
        if row.kind == kind and row.name == name:
            raise PluginError(
                f"the {kind} name {name!r} is taken",
                found=f"{row.distribution} {row.version} ({row.target})",
                expected="a name no installed plugin has",
                hint="ultra plugins list shows them all",
            )


def _words(name: str) -> dict[str, str]:
    """What the templates are filled with."""
    parts = name.split("-")
    camel = "".join(part.capitalize() for part in parts)
    return {
        "name": name,
        "title": " ".join(parts).capitalize(),
        "distribution": f"ultra-agents-{name}",
        "module": f"ultra_agents_{'_'.join(parts)}",
        "cls": f"{camel}Plugin",
        "id": camel,
        "magic": (camel[:3].upper() + "1").rjust(4, "_"),
    }
