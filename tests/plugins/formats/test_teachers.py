"""TorchScript and ONNX networks: asked for actions, and never run unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from ultra_agents_plugins.formats.onnx import ONNX
from ultra_agents_plugins.formats.torchscript import TorchScript

from ultra_agents.errors import PolicyError

SCRIPT, GRAPH = TorchScript(TorchScript.Options()), ONNX(ONNX.Options())
WEIGHT = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)


def graph(path: Path, weight: Any = WEIGHT, batch: Any = "n", after: str | None = None) -> Path:
    """observations @ weight, and possibly an operator on that."""
    nodes = [helper.make_node("MatMul", ["obs", "w"], ["out"])]
    name, kind = "out", TensorProto.FLOAT
    if after is not None:
        nodes.append(helper.make_node(after, ["out"], ["last"], **({"axis": 1} if after == "ArgMax" else {})))
        name, kind = "last", TensorProto.INT64 if after == "ArgMax" else TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            nodes, "policy",
            [helper.make_tensor_value_info("obs", TensorProto.FLOAT, [batch, weight.shape[0]])],
            [helper.make_tensor_value_info(name, kind, None)],
            [numpy_helper.from_array(weight, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9,
    )  # fmt: skip
    onnx.save(model, path)
    return path


def rows(width: int) -> Any:
    return np.random.default_rng(1).normal(size=(40, width)).astype(np.float32)


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("after", [None, "ArgMax"])
def test_an_onnx_network_gives_discrete_actions(
    batch: Any, after: str | None, tmp_path: Path, request_for: Any
) -> None:
    path = graph(tmp_path / "p.onnx", batch=batch, after=after)
    assert GRAPH.recognises(path)
    found = GRAPH.read(request_for(path, "CartPole-v1"))
    assert found.fits == ()
    assert found.act is not None
    wanted = (rows(4) @ WEIGHT).argmax(axis=1)
    assert set(wanted) == {0, 1}
    np.testing.assert_array_equal(found.act(rows(4)), wanted)


def test_an_onnx_network_gives_continuous_actions_within_bounds(tmp_path: Path, request_for: Any) -> None:
    weight = np.array([[3.0], [0.1], [0.2]], np.float32)
    np.savez(tmp_path / "n.npz", mean=np.ones(3), var=np.full(3, 4.0))
    request = request_for(graph(tmp_path / "p.onnx", weight), "Pendulum-v1", normalizer=tmp_path / "n.npz")
    act = GRAPH.read(request).act
    assert act is not None
    wanted = (((rows(3) - 1) / 2) @ weight).clip(-2, 2)
    assert (np.abs(wanted) == 2).any()
    np.testing.assert_allclose(act(rows(3)), wanted, atol=1e-5)


def test_a_network_for_something_else_is_refused(tmp_path: Path, request_for: Any) -> None:
    with pytest.raises(PolicyError, match="does not take this environment's observations"):
        GRAPH.read(request_for(graph(tmp_path / "p.onnx"), "Pendulum-v1"))
    wide = graph(tmp_path / "wide.onnx", np.ones((4, 5), np.float32))
    with pytest.raises(PolicyError, match="no action of this environment") as caught:
        GRAPH.read(request_for(wide, "CartPole-v1"))
    assert "(3, 5)" in str(caught.value)
    broken = graph(tmp_path / "nan.onnx", np.full((4, 2), np.nan, np.float32))
    with pytest.raises(PolicyError, match="not finite"):
        GRAPH.read(request_for(broken, "CartPole-v1"))


def test_a_damaged_onnx_file_is_refused(tmp_path: Path, request_for: Any) -> None:
    path = graph(tmp_path / "p.onnx")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(PolicyError, match="cannot be read as ONNX"):
        GRAPH.read(request_for(path, "CartPole-v1"))


def test_weights_in_another_file_are_not_fetched(tmp_path: Path, request_for: Any) -> None:
    path = graph(tmp_path / "p.onnx", np.ones((4, 2000), np.float32))
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(PolicyError, match="cannot be read as ONNX"):
        GRAPH.read(request_for(path, "CartPole-v1"))


def script(path: Path) -> Path:
    module = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(WEIGHT.T.copy()))
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 4)), path)
    return path


def test_torchscript_is_opened_only_when_trusted(
    tmp_path: Path, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path / "p.pt")
    assert SCRIPT.recognises(path)
    with monkeypatch.context() as patched:
        patched.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("opened"))
        with pytest.raises(PolicyError, match="a program") as caught:
            SCRIPT.read(request_for(path, "CartPole-v1"))
    assert "--trust" in str(caught.value)
    act = SCRIPT.read(request_for(path, "CartPole-v1", trust=True)).act
    assert act is not None
    np.testing.assert_array_equal(act(rows(4)), (rows(4) @ WEIGHT).argmax(axis=1))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PolicyError, match="cannot be read as TorchScript"):
        SCRIPT.read(request_for(path, "CartPole-v1", trust=True))


def test_a_graph_that_asks_for_all_memory_ends_its_own_process_only(
    tmp_path: Path, request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["obs", "sum"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info("obs", TensorProto.FLOAT, ["n", 4])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    size = numpy_helper.from_array(np.array([1 << 33], np.int64), "size")
    model = helper.make_model(
        helper.make_graph(nodes, "bomb", inputs, outputs, [size]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=9,
    )  # fmt: skip
    path = tmp_path / "bomb.onnx"
    path.write_bytes(model.SerializeToString())
    assert path.stat().st_size < 400
    with pytest.raises(PolicyError) as caught:
        GRAPH.read(request_for(path, "CartPole-v1"))
    assert "ConstantOfShape" in str(caught.value.found)
