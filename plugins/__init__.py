"""The built-in plugins, installed as `ultra_agents_plugins`.

They use the same entry-point groups as anybody's plugin and are registered in `pyproject.toml` only.
"""

if __name__ == "plugins":  # imported from the repository root: every class would exist twice
    raise ImportError("import `ultra_agents_plugins` (the installed name), not `plugins`")
