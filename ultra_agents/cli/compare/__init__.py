"""`ultra compare`: methods side by side over seeds."""
