"""What is kept of scores: found again for the same content, code and versions, and never for others."""

import os
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from evaluation.test_evaluate import Counting
from torch import nn

from compressvqa.errors import DataError
from compressvqa.evaluation import ScoreCache, evaluate
from compressvqa.evaluation import digests as digests_of_files
from compressvqa.opinions import Item, Manifest
from compressvqa.scoring.blocks import BlockScorer
from compressvqa.scoring.command import CommandScorer
from compressvqa.scoring.network import NetworkScorer
from compressvqa.scoring.scorer import Course, Facts, Segment
from compressvqa.video import Clip, Pairing, RawFormat


def scores_of(found, model):
    (part,) = [part for part in found.scores if part.model == model]
    return {(item.reference, item.distorted): item.score for item in part.items}


def test_two_references_of_one_distorted_file_are_two_scores(noise_set, cache, tmp_path):
    """The distorted file is one of the references: 60 dB beside itself, less beside the others."""
    items = tuple(Item("r0.y4m", mos=3 - place, reference=f"r{place}.y4m") for place in range(3))
    manifest = Manifest("pairs", noise_set.folder, items)
    for _ in range(2):  # taken, then kept
        found = evaluate(["psnr"], [manifest], cache=cache, resamples=0)
        values = scores_of(found, "psnr")
        assert len(values) == 3 and values["r0.y4m", "r0.y4m"] >= 60
        assert max(values["r1.y4m", "r0.y4m"], values["r2.y4m", "r0.y4m"]) < 30
    found.write(tmp_path / "out")
    assert len((tmp_path / "out" / "scores.csv").read_text().splitlines()) == 4


def test_one_missing_reference_leaves_the_other_pair(noise_set, cache):
    items = (*noise_set.items[:5], Item(noise_set.items[0].distorted, mos=1, reference="none.y4m"))
    found = evaluate(["psnr"], [replace(noise_set, items=items)], cache=cache, resamples=0)
    assert found.datasets[0].n == 5 and found.datasets[0].left_out == 1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.power = 1.0

    def forward(self, reference, distorted):
        return -self.weight * (reference - distorted).abs().pow(self.power).mean(dim=(1, 2, 3, 4))


def test_a_changed_forward_attribute_or_weight_of_a_network_is_scored_anew(noise_set, cache, monkeypatch):
    few = replace(noise_set, items=noise_set.items[:5])
    network = Net()

    def scores():
        found = evaluate([NetworkScorer(network)], [few], cache=cache, resamples=0)
        return list(scores_of(found, found.models[0].name).values())

    first = scores()
    assert scores() == first
    network.power = 2.0
    assert scores() != first
    network.power = 1.0
    monkeypatch.setattr(Net, "forward", lambda self, r, d: 2 * (r - d).abs().mean(dim=(1, 2, 3, 4)))
    assert scores() == pytest.approx([-2 * value for value in first])
    monkeypatch.undo()
    scorer = NetworkScorer(network)
    evaluate([scorer], [few], cache=cache, resamples=0)
    network.weight.data.mul_(3)  # of a scorer that was used before
    again = evaluate([scorer], [few], cache=cache, resamples=0)
    assert list(scores_of(again, "Net").values()) == pytest.approx([3 * value for value in first])


def test_a_changed_program_is_asked_anew(noise_set, cache, tmp_path):
    script = tmp_path / "tool.py"
    script.write_text("print(1)")
    few = replace(noise_set, items=noise_set.items[:5])

    def score():
        scorer = CommandScorer("tool", f"{sys.executable} {script} {{distorted}}")
        return set(scores_of(evaluate([scorer], [few], cache=cache, resamples=0), "tool").values())

    assert score() == {1}
    script.write_text("print(2)")
    assert score() == {2}


def test_a_file_of_the_same_size_and_time_is_another(noise_set, cache, tmp_path):
    names = ["r0.y4m", "d0-0.y4m", "d0-4.y4m"]
    for name in names:
        (tmp_path / name).write_bytes((noise_set.folder / name).read_bytes())
    manifest = Manifest("one", tmp_path, (Item("d0-0.y4m", 1, "r0.y4m"), Item("r0.y4m", 2, "r0.y4m")))
    before = scores_of(evaluate(["psnr"], [manifest], cache=cache, resamples=0), "psnr")["r0.y4m", "d0-0.y4m"]
    file = tmp_path / "d0-0.y4m"
    state = file.stat()
    file.write_bytes((tmp_path / "d0-4.y4m").read_bytes())
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    after = scores_of(evaluate(["psnr"], [manifest], cache=cache, resamples=0), "psnr")["r0.y4m", "d0-0.y4m"]
    assert after < before - 10


@pytest.mark.skipif(os.name == "nt", reason="keeps no time of change")
def test_a_large_file_is_read_once_and_again_when_it_changes(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(digests_of_files, "ALWAYS_READ", 0)
    monkeypatch.setattr(digests_of_files, "SETTLED", 0.05)
    read = []
    whole = digests_of_files.content_digest
    monkeypatch.setattr(digests_of_files, "content_digest", lambda path: read.append(path.name) or whole(path))
    file, link = tmp_path / "a.bin", tmp_path / "link.bin"
    file.write_bytes(b"one")
    link.symlink_to(file)
    time.sleep(0.1)
    first = ScoreCache(cache).digest(file)
    assert ScoreCache(cache).digest(link) == first and read == ["a.bin"]
    state = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = ScoreCache(cache).digest(file)
    assert second != first  # though size and time of writing are the same
    (tmp_path / "b.bin").write_bytes(b"one")
    link.unlink()
    link.symlink_to(tmp_path / "b.bin")
    assert ScoreCache(cache).digest(link) == first


def test_a_file_that_is_written_while_it_is_scored(noise_set, cache, tmp_path):
    for name in ("r0.y4m", "d0-0.y4m", "d0-1.y4m"):
        (tmp_path / name).write_bytes((noise_set.folder / name).read_bytes())

    class Writing(Counting):
        def score(self, reference, distorted, pairing, progress=None):
            for clip in distorted:
                if clip.path.name == "d0-1.y4m":
                    clip.path.write_bytes(os.urandom(100))
            return super().score(reference, distorted, pairing, progress)

    manifest = Manifest("one", tmp_path, tuple(Item(f"d0-{n}.y4m", n, "r0.y4m") for n in range(2)))
    found = evaluate([Writing()], [manifest], cache=cache, resamples=0)
    (dataset,) = found.datasets
    assert dataset.n == 1 and any("written while it was scored" in note for note in dataset.notes)


def test_everything_else_that_a_score_hangs_on_is_in_its_key(noise_set, cache):
    kept, clip = ScoreCache(cache), Clip(noise_set.folder / "d0-0.y4m")
    reference, facts = Clip(noise_set.folder / "r0.y4m"), Facts("a", "one")
    raw = RawFormat(112, 96)
    keys = [
        kept.key(facts, reference, clip, Pairing()),
        kept.key(facts, clip, clip, Pairing()),
        kept.key(replace(facts, identity="two"), reference, clip, Pairing()),
        kept.key(facts, reference, replace(clip, raw=raw), Pairing()),
        kept.key(facts, reference, replace(clip, raw=replace(raw, bitdepth=10)), Pairing()),
        kept.key(facts, replace(reference, raw=raw), clip, Pairing()),
        *(kept.key(facts, reference, clip, Pairing(**one)) for one in (
            {"frames": 3}, {"subsample": 2}, {"skip_reference": 1}, {"skip_distorted": 1}, {"size": "refuse"},
            {"rate": "hold"}, {"length": "trim"},
        )),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    bare = replace(facts, mode="NR")
    assert kept.key(bare, reference, clip, Pairing()) == kept.key(bare, None, clip, Pairing())
    assert kept.key(replace(facts, name="b"), reference, clip, Pairing()) == keys[0]


def test_damage_in_the_store_is_found(noise_set, cache):
    kept, clip, facts = ScoreCache(cache), Clip(noise_set.folder / "d0-0.y4m"), Facts("a", "one")
    course = Course(1.25, (Segment(0, 5, 1.25),), {})
    kept.put(facts, None, clip, Pairing(), course)
    kept.close()
    store = sqlite3.connect(cache / "scores.sqlite")
    for change in ("replace(course, '1.25', '9.25')", "substr(course, 1, 90)", "''"):
        text = store.execute("SELECT course FROM scores").fetchone()[0]
        with store:
            store.execute(f"UPDATE scores SET course = {change}")
        assert ScoreCache(cache).get(facts, None, clip, Pairing()) is None
        with store:
            store.execute("UPDATE scores SET course = ?", (text,))
    assert ScoreCache(cache).get(facts, None, clip, Pairing()) == course
    content = (cache / "scores.sqlite").read_bytes()
    (cache / "scores.sqlite").write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    damaged = ScoreCache(cache)
    with pytest.raises(DataError, match=r"can't be kept here.*delete .*scores\.sqlite"):
        damaged.get(facts, None, clip, Pairing())


def test_two_write_one_store_at_a_time(noise_set, cache):
    clip = Clip(noise_set.folder / "d0-0.y4m")

    def write(_):
        kept = ScoreCache(cache)  # a connection of its own, as another process has
        for number in range(20):
            facts = Facts("a", f"{number}")
            kept.put(facts, None, clip, Pairing(), Course(float(number), (Segment(0, 5, number),), {}))
            assert kept.get(facts, None, clip, Pairing()).score == number
        kept.close()

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(write, range(3))) == [None] * 3
    rows = sqlite3.connect(cache / "scores.sqlite").execute("SELECT count(*) FROM scores").fetchone()
    assert rows == (20,)


def test_scores_of_an_earlier_version_are_taken_anew(noise_set, cache):
    """A store of 0.1.0: its keys held less than scores hang on."""
    cache.mkdir()
    store = sqlite3.connect(cache / "scores.sqlite")
    with store:
        store.execute("CREATE TABLE scores (key TEXT PRIMARY KEY, course TEXT NOT NULL)")
        store.execute("CREATE TABLE files (path TEXT PRIMARY KEY, size INTEGER, changed INTEGER, digest TEXT NOT NULL)")
        store.execute("INSERT INTO scores VALUES ('old', '{}')")
    counting = Counting()
    evaluate([counting], [noise_set], cache=cache, resamples=0)
    assert len(counting.asked) == 15 and Path(cache / "scores.sqlite").is_file()


def test_a_scorer_that_has_scored_before_finds_what_it_kept(noise_set, cache, tmp_path):
    log = tmp_path / "asked"

    class Means(BlockScorer):
        """Where a scoring has got to is no setting."""

        facts = (Facts(name="means", identity="means"),)

        def measure(self, prepared, distorted):
            with log.open("a") as file:
                file.write(".")
            return -(prepared - distorted).abs().mean(dim=(0, 2, 3, 4))

    scorer = Means()
    first = evaluate([scorer], [noise_set], cache=cache, resamples=0)
    asked = log.read_text()
    again = evaluate([scorer], [noise_set], cache=cache, resamples=0)
    assert asked and log.read_text() == asked
    assert scores_of(again, "means") == scores_of(first, "means")
