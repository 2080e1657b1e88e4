"""Every runtime against PyTorch; what is missing, unknown or wrong is one line."""

import importlib.util
import json
import shutil

import pytest
import torch
from torch import nn

import compressvqa as cv
from compressvqa.deploy import BlockSize, check_runtime, graphs, made, prepare
from compressvqa.errors import MissingExtraError, RegistryError, RuntimeRefusedError
from compressvqa.registry import Registry, runtimes
from compressvqa.video.block import Frames


class Small(nn.Module):
    """Two clips to a score."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, stride=2)

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        left, right = (self.layer(clip.flatten(0, 1)) for clip in (reference, distorted))
        return (left - right).abs().mean(dim=(1, 2, 3)).unflatten(0, reference.shape[:2]).mean(1)


def frames(count: int = 4) -> list[Frames]:
    torch.manual_seed(1)
    return [Frames(rgb=torch.rand(1, count, 3, 32, 40)) for _ in range(2)]


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_graph_scores_as_pytorch_does(name: str) -> None:
    pytest.importorskip(name)
    model, (reference, distorted) = Small().eval(), frames()
    prepared = made(name).prepare(model, BlockSize(4, 32, 40))
    for count in (4, 3):  # a short last block is PyTorch's
        left, right = (Frames(rgb=one.rgb()[:, :count]) for one in (reference, distorted))
        (found,) = prepared.partials(left, [right])
        with torch.no_grad():
            assert float(found) == pytest.approx(float(model(left.rgb(), right.rgb())), rel=1e-4)


def test_a_graph_that_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(graphs.GraphRuntime):
        name = "compile"

        def _compiled(self, network, inputs):
            return lambda *arguments: network(*arguments) * 1.001

    model, clips = Small().eval(), tuple(one.rgb() for one in frames())
    with pytest.raises(RuntimeRefusedError, match=r"'compile' differs from PyTorch by 0\.001 .* 0\.0001 is allowed"):
        Wrong().compile(model, clips)
    monkeypatch.setattr(
        Wrong, "_compiled", lambda self, network, inputs: lambda *arguments: network(*arguments) * float("nan")
    )
    with pytest.raises(RuntimeRefusedError):
        Wrong().compile(model, clips)


def test_what_is_unknown_or_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RegistryError, match=r"unknown runtime 'abacus' \(try: auto, compile, eager, "):
        check_runtime("abacus")
    real = importlib.util.find_spec
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name in ("openvino", "onnxruntime") else real(name))
    for name, package, extra in (("openvino", "openvino", "openvino"), ("onnxruntime", "onnxruntime", "onnx")):
        with pytest.raises(MissingExtraError, match=rf"'{package}' is not installed .*compressvqa\[{extra}\]"):
            check_runtime(name)


def test_a_network_on_a_gpu_is_not_a_graph_s(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeRefusedError, match="works on the CPU, and the network is on meta"):
        graphs._refuse_gpu("openvino", nn.Linear(1, 1, device="meta"))


def test_a_runtime_of_ones_own_keeps_the_promise() -> None:
    own = Registry("runtime", "compressvqa.deploy", runtimes._check)
    with pytest.raises(RegistryError, match="must have a method `prepare`"):
        own.register("mine", tolerance=0.1)(type("Mine", (), {"__doc__": "x", "compile": len}))
    with pytest.raises(RegistryError, match="must say its tolerance"):
        own.register("mine")(type("Mine", (), {"__doc__": "x", "compile": len, "prepare": len}))


# --- the choice -------------------------------------------------------------------------------------------------


@pytest.fixture
def abacus(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """A runtime that counts how often it is made, and a cache of its own."""
    monkeypatch.setenv("COMPRESSVQA_CACHE", str(tmp_path))
    monkeypatch.setattr(runtimes, "_entries", {"eager": runtimes["eager"]})
    counted: list[BlockSize] = []

    @runtimes.register("abacus", tolerance=0.0)
    class Abacus(type(made("eager"))):
        """PyTorch, counted."""

        def prepare(self, network, size):
            counted.append(size)
            return super().prepare(network, size)

    return counted


def test_little_work_is_not_measured(abacus, tmp_path) -> None:
    prepare(Small().eval(), BlockSize(4, 32, 40), blocks=3)
    assert not abacus and not list(tmp_path.iterdir())


def test_much_work_is_measured_once_and_kept(abacus, tmp_path) -> None:
    model, size = Small().eval(), BlockSize(4, 150, 200)
    prepare(model, size, blocks=10**9)
    assert abacus[0] == BlockSize(4, 128, 128)  # a small picture stands for a class of sizes
    (file,) = tmp_path.iterdir()
    held = json.loads(file.read_text())
    assert set(held) == {"eager", "abacus"} and held["eager"]["block_s"] >= 0
    for name, seconds in (("eager", 1.0), ("abacus", 0.5)):  # what was measured decides
        held[name] = {"prepare_s": 0.0, "block_s": seconds}
    file.write_text(json.dumps(held))
    before = len(abacus)
    prepare(model, size, blocks=10**9)
    assert abacus[before:] == [size]
    held["abacus"] = None  # it could not
    file.write_text(json.dumps(held))
    prepare(model, size, blocks=10**9)
    assert len(abacus) == before + 1
    with torch.no_grad():
        model.layer.weight += 1  # another network
    prepare(model, size, blocks=10**9)
    assert len(list(tmp_path.iterdir())) == 2


def test_one_that_differs_by_design_is_never_taken_unasked(abacus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtimes["abacus"].facts, "tolerance", 0.03)
    prepare(Small().eval(), BlockSize(4, 150, 200), blocks=10**9)
    assert not abacus
    prepare(Small().eval(), BlockSize(4, 150, 200), "abacus")
    assert len(abacus) == 1


def test_one_that_was_made_for_the_network_is_taken_at_once(abacus, monkeypatch, tmp_path, caplog) -> None:
    facts, size = runtimes["abacus"].facts, BlockSize(4, 150, 200)
    monkeypatch.setitem(facts, "made_for", Small)
    prepare(Small().eval(), size, blocks=10**9)
    assert abacus == [size] and not list(tmp_path.iterdir())  # nothing was measured
    prepare(Small().eval(), size, blocks=3)  # PyTorch is done before it would be ready
    prepare(nn.Sequential(Small()).eval(), size, blocks=10**9)  # of another class: it can't be told to run it
    assert abacus == [size]
    with monkeypatch.context() as many:  # it works on one core, and PyTorch has all: that is to be measured
        many.setattr(torch, "get_num_threads", lambda: 16)
        prepare(Small().eval(), size, blocks=10**9)
    assert abacus[1] == BlockSize(4, 128, 128)

    def refuse(self, network, size):
        raise RuntimeRefusedError("no beads")

    monkeypatch.setattr(runtimes["abacus"].value, "prepare", refuse)
    prepare(Small().eval(), size, blocks=10**9)
    assert "no beads; another one scores" in caplog.text
    monkeypatch.setitem(facts, "tolerance", 0.03)
    caplog.clear()
    prepare(Small().eval(), size, blocks=10**9)
    assert not caplog.text


def test_rankdvqa_is_scored_by_its_native_code() -> None:
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("no compiler")
    model, size = cv.create_model("rankdvqa-pico", weights="pretrained").eval(), BlockSize(12, 540, 960)
    assert prepare(model, size, blocks=100).kernel.precision == "float32"
