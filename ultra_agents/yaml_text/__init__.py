"""YAML to plain data and back: one reader for configurations, comparisons, `--set` values, prompts and rules.

Nothing is constructed from tags; size, depth and what aliases expand to are bounded; a key given twice is an error.
Scalars are those of YAML 1.2 (`1e-2` is a number, `no` a word), not PyYAML's YAML 1.1; keys are always text.
"""

from ultra_agents.yaml_text.places import SHOWN, Path, Place, YamlError, quoted
from ultra_agents.yaml_text.reading import Dialect, dotted, read_setting, read_settings, read_text, read_yaml
from ultra_agents.yaml_text.scalars import plain_scalar, text_or_none, write_yaml

__all__ = [
    "Dialect",
    "Path",
    "Place",
    "SHOWN",
    "YamlError",
    "dotted",
    "plain_scalar",
    "quoted",
    "read_setting",
    "read_settings",
    "read_text",
    "read_yaml",
    "text_or_none",
    "write_yaml",
]
