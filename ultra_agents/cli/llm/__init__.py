"""`ultra llm`: list and check providers, read and keep conversations."""
