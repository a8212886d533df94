"""`ultra rules`: check and test rules that a person or a model wrote."""
