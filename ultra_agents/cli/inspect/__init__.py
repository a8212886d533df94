"""`ultra inspect`: browse a run's episodes and cases."""
