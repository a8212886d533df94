"""Comparisons: tasks x methods x seeds, one run folder a cell, on one machine or a Ray cluster.

The rules are those of `docs/method.md`, "How a comparison is made".
"""

from ultra_agents.experiments.spec import Cell, Experiment, cells_of, load_experiment

__all__ = ["Cell", "Experiment", "cells_of", "load_experiment"]
