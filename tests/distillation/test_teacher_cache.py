import pytest
import torch
from disk import full
from torch import nn

from compressvqa.distillation import TeacherCache, fingerprint
from compressvqa.distillation import teacher_cache as module
from compressvqa.errors import DataError, TrainingError


def test_values_come_back_also_after_a_restart(tmp_path):
    scores, maps = torch.rand(3), [torch.rand(4, 5, 6).half(), torch.rand(2, 100)]
    with TeacherCache(tmp_path, max_bytes=2**20, teacher="abc") as cache:
        cache.put(["a", "b", "c"], scores)
        cache.put(["a|body", "b|body"], maps)
    for again in (cache, TeacherCache(tmp_path, max_bytes=2**20, teacher="abc")):
        assert len(again) == 5
        assert torch.equal(torch.stack(again.get(["c", "a", "b"])), scores[[2, 0, 1]])
        assert all(torch.equal(a, b) for a, b in zip(again.get(["a|body", "b|body"]), maps, strict=True))
        assert again.get(["d"]) == [None]
    assert (again.hits, again.misses) == (5, 1)
    other = TeacherCache(tmp_path, max_bytes=2**20, teacher="def")
    assert other.get(["a"]) == [None]


def test_what_was_flushed_survives_a_kill_and_a_known_key_keeps_its_value(tmp_path):
    cache = TeacherCache(tmp_path, max_bytes=2**20)
    cache.put(["a"], torch.tensor([1.0]))
    cache.flush()
    cache.put(["a", "b"], torch.tensor([5.0, 2.0]))
    assert cache.get(["a", "b"]) == [torch.tensor(1.0), torch.tensor(2.0)]
    again = TeacherCache(tmp_path, max_bytes=2**20)  # no close: as after kill -9
    assert again.get(["a", "b"]) == [torch.tensor(1.0), None]
    assert not list(again.folder.glob(".writing*"))


def test_many_values_are_written_without_being_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_VALUES", 10)
    cache = TeacherCache(tmp_path, max_bytes=2**20)
    for start in range(0, 40, 4):
        cache.put([str(i) for i in range(start, start + 4)], torch.arange(start, start + 4.0))
    assert len(TeacherCache(tmp_path, max_bytes=2**20)) == 36
    assert all(value.nbytes == 4 for value in cache.get(["0", "39"]))


def test_when_full_old_values_stay_and_new_ones_are_refused():
    cache = TeacherCache(None, max_bytes=8)
    cache.put(["a", "b", "c"], torch.tensor([1.0, 2.0, 3.0]))
    assert cache.full and len(cache) == 2
    cache.get(["a"])[0].zero_()
    assert cache.get(["a", "c"]) == [torch.tensor(1.0), None]


def test_mistakes_are_named(tmp_path):
    cache = TeacherCache(tmp_path, max_bytes=2**20)
    with pytest.raises(TrainingError, match="2 keys for 1"):
        cache.put(["a", "b"], torch.zeros(1))
    with pytest.raises(TrainingError, match="'b' is not finite"):
        cache.put(["a", "b"], torch.tensor([1.0, float("nan")]))
    cache.close()
    [file] = cache.folder.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(DataError, match=r"damaged.*delete this file"):
        TeacherCache(tmp_path, max_bytes=2**20)
    with pytest.raises(DataError, match="no file name"):
        TeacherCache(tmp_path, max_bytes=1, teacher="../x")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="can't be made"):
        TeacherCache(tmp_path / "file", max_bytes=1)


def test_the_fingerprint_sees_weights_buffers_and_types():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    first = fingerprint(model)
    assert first == fingerprint(model) and len(first) == 16
    model[1].running_mean[0] += 1e-6
    second = fingerprint(model)
    with torch.no_grad():
        model[0].weight[0, 0] += 1e-3
    assert len({first, second, fingerprint(model), fingerprint(model.half())}) == 4


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path):
    cache = TeacherCache(tmp_path, max_bytes=2**20, teacher="t")
    cache.put(["a"], [torch.zeros(5000)])
    with full(), pytest.raises(DataError, match=r"can't be written: File too large"):
        cache.flush()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    cache.flush()
    assert "a" in TeacherCache(tmp_path, max_bytes=2**20, teacher="t")


def test_what_a_kill_left_is_removed(tmp_path):
    (folder := TeacherCache(tmp_path, max_bytes=2**20, teacher="t").folder).mkdir(exist_ok=True)
    (folder / ".000000-x.safetensors.1-2.tmp").touch()
    TeacherCache(tmp_path, max_bytes=2**20, teacher="t")
    assert not list(folder.iterdir())
