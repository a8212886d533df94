"""Prompt files (`*.md` with front matter), installed as `ultra_agents_prompts`."""
