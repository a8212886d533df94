"""The live screen of a comparison: its cells, the curves of its methods, and one cell as `ultra watch` shows it."""
