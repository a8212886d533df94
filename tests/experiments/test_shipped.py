"""Every experiment in `examples/` can begin: no cell of it is refused after the ones before it have run for hours."""

from pathlib import Path

import pytest

from ultra_agents.experiments import cells_of, load_experiment
from ultra_agents.stages.check import check_run

EXPERIMENTS = sorted((Path(__file__).parents[2] / "examples" / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_nothing_in_a_shipped_experiment_is_refused(path: Path, tmp_path: Path) -> None:
    cells = {(cell.task, cell.method): cell for cell in cells_of(load_experiment(path), tmp_path, path.parent)}
    assert cells
    for cell in cells.values():
        check_run(cell.config)
        for kind in ("recorded", "embedded"):
            if cell.method.startswith(kind):
                agents = cell.config.agents
                asked = {name for one in (agents.identifier, agents.advisor, agents.critic) for name in one.names}
                assert (asked or set(cell.config.llms)) == {kind}, cell.name
