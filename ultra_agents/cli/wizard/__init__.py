"""`ultra` without a command: the wizard that writes a configuration."""
