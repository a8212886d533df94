"""`ultra advise`: a person's advice, tested and kept."""
