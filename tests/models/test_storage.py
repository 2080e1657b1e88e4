"""Networks as folders: what comes back, and what a damaged folder says."""

import json
import pickle
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

import compressvqa as cv
from compressvqa.errors import RegistryError, WeightsError
from compressvqa.models import create_model, example_inputs, load, save, spec_of
from compressvqa.models.storage import read_config
from compressvqa.pruning.cutting.removed import Removed
from compressvqa.registry import models

torch.set_num_threads(1)
WIDTHS = (4, 5, 6, 7, 8, 9)


def small(**settings):
    torch.manual_seed(0)
    return create_model("rankdvqa", widths=WIDTHS, merge_width=8, mlp_width=6, **settings).eval()


def cut(layer, dim, kept):
    layer.weight = nn.Parameter(layer.weight.detach()[kept] if dim == 0 else layer.weight.detach()[:, kept])
    if dim == 0:
        layer.bias = nn.Parameter(layer.bias.detach()[kept])
    numbers = {nn.Conv2d: ("out_channels", "in_channels"), nn.Linear: ("out_features", "in_features")}[type(layer)]
    setattr(layer, numbers[dim], len(kept))


def prune_by_hand(model, kept=(0, 2)):
    """The extractor's first width, an MLP, and the sixth stage."""
    first, second = model.extractor.stages[0][0], model.extractor.stages[0][2]
    cut(first, 0, list(kept))
    cut(second, 1, list(kept))
    cut(model.scales[1].mlp.fc1, 0, list(kept))
    cut(model.scales[1].mlp.fc2, 1, list(kept))
    model.extractor.stages[5] = Removed()
    return model


def score(model):
    with torch.no_grad():
        return model(*example_inputs("rankdvqa", size=96, frames=12))


def test_round_trip_to_the_bit(tmp_path):
    model = small(dropout=0.1)
    folder = save(model, tmp_path / "net", facts={"srocc": 0.93, "broken": float("nan")})
    loaded = load(folder)
    assert torch.equal(score(model), score(loaded))
    assert not loaded.training
    assert spec_of(loaded).name == "rankdvqa"
    assert spec_of(loaded).kwargs["dropout"] == 0.1
    config = read_config(folder)
    assert config["facts"] == {"srocc": 0.93, "broken": None}
    assert config["changes"] == {"removed": [], "attributes": {}, "tensors": {}, "shared": {}, "constants": []}
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net"]


def test_a_pruned_network_and_one_pruned_again(tmp_path):
    model = prune_by_hand(small())
    loaded = load(save(model, tmp_path / "once"))
    assert torch.equal(score(model), score(loaded))
    assert type(loaded.extractor.stages[5]) is Removed
    assert loaded.extractor.stages[0][0].out_channels == 2
    again = prune_by_hand_again(loaded)
    twice = load(save(again, tmp_path / "twice"))
    assert torch.equal(score(again), score(twice))
    assert twice.extractor.stages[0][0].weight.shape[0] == 1
    assert read_config(tmp_path / "once")["changes"]["removed"] == ["extractor.stages.5"]


def prune_by_hand_again(model):
    cut(model.extractor.stages[0][0], 0, [1])
    cut(model.extractor.stages[0][2], 1, [1])
    return model


@pytest.mark.slow
def test_a_new_process_needs_only_the_folder(tmp_path):
    model = prune_by_hand(small())
    save(model, tmp_path / "net")
    code = (
        "import sys, torch; torch.set_num_threads(1); import compressvqa as cv; m = cv.load(sys.argv[1])\n"
        "with torch.no_grad(): print(m(*cv.example_inputs(m, size=96, frames=12)).item())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "net")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(found.stdout) == score(model).item()


def test_create_model_reads_a_folder_of_the_same_network(tmp_path):
    model = prune_by_hand(small())
    folder = save(model, tmp_path / "net")
    loaded = create_model("rankdvqa", weights=folder, dropout=0.0)
    assert loaded.training
    assert loaded.scales[0].dropout.p == 0.0
    assert torch.equal(score(model), score(loaded.eval()))
    with pytest.raises(WeightsError, match="holds a 'rankdvqa', not a 'stanet'"):
        create_model("stanet", weights=folder)


def test_half_precision_files_come_back_as_float32_unless_asked(tmp_path):
    model = small().half()
    folder = save(model, tmp_path / "net")
    assert (folder / "model.safetensors").stat().st_size < 2 * sum(p.numel() for p in model.parameters()) + 20_000
    assert {p.dtype for p in load(folder).parameters()} == {torch.float32}
    assert {p.dtype for p in load(folder, dtype=torch.float16).parameters()} == {torch.float16}
    assert {p.dtype for p in load(save(small().double(), tmp_path / "wide")).parameters()} == {torch.float64}


class HalfInside(nn.Module):
    """A network that works in half precision inside, on purpose."""

    def __init__(self):
        super().__init__()
        self.features, self.head = nn.Linear(4, 4).bfloat16(), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.features(x.bfloat16()).float())


def test_what_was_built_in_half_precision_stays_so(tmp_path):
    models.register("half-inside", mode="NR", inputs="vectors")(HalfInside)
    model = create_model("half-inside").eval()
    loaded = load(save(model, tmp_path / "net"))
    assert [p.dtype for p in loaded.parameters()] == [p.dtype for p in model.parameters()]
    assert torch.equal(loaded(torch.ones(1, 4)), model(torch.ones(1, 4)))
    assert {p.dtype for p in load(tmp_path / "net", dtype=torch.float64).parameters()} == {torch.float64}


class Tied(nn.Module):
    """A network whose two layers share their weight, with a counter, a constant and statistics."""

    def __init__(self, width=4):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(width)
        self.gru = nn.GRU(width, width)
        self.limits = (1, 2)
        self.register_buffer("constant", torch.arange(width), persistent=False)

    def forward(self, x):
        x = self.second(self.first(x)) + self.constant
        return self.norm(x).mean(dim=1) + self.gru(x)[0].sum() * 0


@pytest.fixture
def tied():
    models.register("tied", mode="NR", inputs="vectors")(Tied)
    yield create_model("tied")
    models._entries.pop("tied")


def test_shared_weights_statistics_and_constants(tied, tmp_path):
    tied.norm.running_mean += 3
    tied.constant[0] = 9
    tied.limits = (1, 7)
    loaded = load(save(tied, tmp_path / "net"))
    assert loaded.first.weight is loaded.second.weight
    assert torch.equal(loaded.norm.running_mean, tied.norm.running_mean)
    assert loaded.constant[0] == 9
    assert loaded.limits == (1, 7)
    stored = safetensors.torch.load_file(tmp_path / "net" / "model.safetensors")
    assert "second.weight" not in stored
    x = torch.rand(3, 4)
    assert torch.equal(tied.eval()(x), loaded(x))


def test_shared_weights_that_were_cut_stay_shared(tied, tmp_path):
    tied.first.weight = tied.second.weight = nn.Parameter(torch.rand(3, 3))
    for layer in (tied.first, tied.second):
        layer.bias, layer.in_features, layer.out_features = nn.Parameter(torch.rand(3)), 3, 3
    loaded = load(save(tied, tmp_path / "net"))
    assert loaded.first.weight is loaded.second.weight
    assert loaded.second.weight.shape == (3, 3)


def test_saving_leaves_random_numbers_alone(tmp_path):
    model = small()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    save(model, tmp_path / "net")
    assert torch.equal(torch.rand(1), expected)


def test_writing_again_replaces_the_model_and_keeps_other_files(tmp_path):
    folder = save(small(), tmp_path / "net")
    (folder / "LICENSE").write_text("mine")
    other = small()
    with torch.no_grad():
        other.scales[0].head.weight += 1
    save(other, folder, card="# My card\n")
    assert torch.equal(score(load(folder)), score(other))
    assert (folder / "LICENSE").read_text() == "mine"
    assert (folder / "README.md").read_text() == "# My card\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net"]


def test_a_failed_save_keeps_what_was_there(tmp_path):
    folder = save(small(), tmp_path / "net")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    with pytest.raises(WeightsError, match="JSON"):
        save(small(), folder, facts={"set": {1, 2}})
    model = small()
    model.scales[2] = nn.Linear(2, 2)
    with pytest.raises(WeightsError, match=r"^scales\.2: can't be saved: it is a Linear"):
        save(model, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net"]


def test_somebody_elses_folder_is_not_touched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(WeightsError, match="something else than a model"):
        save(small(), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(WeightsError, match="is a file"):
        save(small(), tmp_path / "thesis.tex")


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_damage_is_named(tmp_path):
    folder = save(small(), tmp_path / "net")
    weights = (folder / "model.safetensors").read_bytes()
    with pytest.raises(WeightsError, match=r"it has no config\.json"):
        load(tmp_path / "nowhere")
    (folder / "model.safetensors").write_bytes(weights[:-4] + b"oops")
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load(folder)
    (folder / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load(folder)
    (folder / "model.safetensors").write_bytes(weights)
    edit(folder, format=99)
    with pytest.raises(WeightsError, match=r"format 99 is newer .*upgrade"):
        load(folder)
    edit(folder, format=1, model="unheard-of")
    with pytest.raises(RegistryError, match="unknown model 'unheard-of'"):
        load(folder)
    edit(folder, model="rankdvqa", library="other")
    with pytest.raises(WeightsError, match="not written by compressvqa"):
        load(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(WeightsError, match="is no JSON"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"removed": ["extractor.stages.9"]}, "no module 'extractor.stages.9'"),
        ({"removed": 3}, "config.json is damaged"),
        ({"attributes": {"scales.0.head": 1}}, "config.json is damaged"),
        ({"attributes": {"scales.0.head": {"in_channels": "many"}}}, "in_channels"),
        ({"tensors": {"scales.0.head.weight": "large"}}, "config.json is damaged"),
        ({"removed": ["nobody.home"]}, "no module 'nobody.home'"),
        ({"attributes": {"extractor": {"forward": 3}}}, "no attribute 'forward'"),
        ({"tensors": {"scales.0.head.weight": [1, 2, 3, 4]}}, "in config.json"),
        ({"tensors": {"scales.0.hat.weight": [1]}}, "lack scales.0.hat.weight"),
        ({"surprise": 1}, "config.json is damaged"),
    ],
)
def test_a_config_that_does_not_fit_its_weights(tmp_path, changes, words):
    folder = save(small(), tmp_path / "net")
    edit(folder, changes=changes)
    with pytest.raises(WeightsError, match=words) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("code ran",))

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"state_dict": Trap()}, protocol=2))
    torch.save({"model": Trap()}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        with pytest.raises(WeightsError, match="not a checkpoint of plain tensors"):
            create_model("rankdvqa", weights=tmp_path / name)


def test_files_that_hold_no_weights(tmp_path):
    with pytest.raises(WeightsError, match="no such checkpoint"):
        create_model("rankdvqa", weights=tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name in ("text.pth", "text.safetensors", "empty.pth"):
        with pytest.raises(WeightsError, match="not a"):
            create_model("rankdvqa", weights=tmp_path / name)
    torch.save([torch.rand(3)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="no state dict"):
        create_model("rankdvqa", weights=tmp_path / "list.pth")


def test_nan_weights_and_other_widths_are_refused(tmp_path):
    state = small().state_dict()
    torch.save(state, tmp_path / "small.pth")
    with pytest.raises(WeightsError, match=r"is \(4, 3, 3, 3\), the network's \(16, 3, 3, 3\)"):
        create_model("rankdvqa", weights=tmp_path / "small.pth")
    state["scales.0.head.weight"][0, 0] = float("nan")
    torch.save(state, tmp_path / "nan.pth")
    with pytest.raises(WeightsError, match=r"scales\.0\.head\.weight holds NaN"):
        create_model("rankdvqa", weights=tmp_path / "nan.pth", widths=WIDTHS, merge_width=8, mlp_width=6)


def test_public_names():
    assert cv.save is save
    assert cv.load is load


def test_a_kill_between_two_renames_leaves_a_model(tmp_path, monkeypatch):
    """Where folders can't change places in one step, the old one is found under the name that it was put aside with."""
    from compressvqa import files

    monkeypatch.setattr(files, "_swapped", lambda one, other: False)
    folder, model = tmp_path / "model", create_model("rankdvqa", widths=(2, 2, 2, 2, 2, 2), merge_width=2, mlp_width=2)
    save(model, folder)
    rename, seen = type(folder).rename, []

    def killed(path, target):
        seen.append(path)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(type(folder), "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        save(model, folder)
    monkeypatch.undo()
    assert len(seen) == 2 and not folder.exists()
    assert load(folder).state_dict().keys() == model.state_dict().keys()
    save(model, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
