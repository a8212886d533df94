"""`ultra plugins`: list, check and begin plugins."""
