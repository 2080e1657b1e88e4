"""Parts of files: the same frames that decoding the whole file gives, with less work; else the file is read whole."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import ffmpeg, make
from hostile.mutations import mutated_bytes

import compressvqa as cv
from compressvqa.errors import DataError
from compressvqa.scoring import NetworkScorer, score, score_several
from compressvqa.scoring.sampling import Sampling
from compressvqa.video import Pairing, jumps, packets, promises, survey
from compressvqa.video.clip import Clip
from compressvqa.video.frames import Planes
from compressvqa.video.jumps import jumped
from compressvqa.video.packets import packets_of
from compressvqa.video.promises import believed
from compressvqa.video.read import is_read_in_parts, probe, read_frames, read_runs

FRAMES = 90
MAKERS = {
    "closed.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-g", "20", "-bf", "3"),
    "open.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1:keyint=20:bframes=3"),
    "refresh.mp4": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "intra-refresh=1:keyint=20"),
    "open.mkv": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1:keyint=20:bframes=3"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=20:open-gop=1"),
    "layers.mkv": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
                   "log-level=none:keyint=20:temporal-layers=3:b-adapt=0:bframes=4"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-g", "20", "-auto-alt-ref", "1", "-lag-in-frames", "9"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12", "-g", "20"),
    "one-key.mov": ("-c:v", "libx264", "-preset", "veryfast", "-g", "500"),
    "plain.y4m": (),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("jumps")
    source = make(folder / "source.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="160x128", frames=FRAMES)
    # Noise that changes from frame to frame: no frame is another's picture.
    for name, how in MAKERS.items():
        ffmpeg("-i", str(source), "-vf", "noise=alls=20:allf=t:all_seed=5", "-pix_fmt", "yuv420p", *how,
               str(folder / name))  # fmt: skip
    return {name: folder / name for name in MAKERS}


def equal(one: Planes, other: Planes) -> bool:
    return one.shows_the_same(other)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("threads", [1, 0])
def test_runs_are_what_decoding_the_whole_file_gives(files: dict[str, Path], name: str, threads: int) -> None:
    whole, dice = list(read_frames(files[name])), random.Random(name)
    assert len(whole) == FRAMES
    assert not any(equal(one, other) for one, other in itertools.pairwise(whole))
    plans = [[range(0, 12)], [range(FRAMES - 7, FRAMES)], [range(25, 37), range(37, 40), range(70, 82)]]
    for _ in range(6):
        ends = sorted(dice.sample(range(FRAMES + 1), 6))
        plans.append([range(*pair) for pair in zip(ends[::2], ends[1::2], strict=True)])
    for runs in plans:
        found = list(read_runs(Clip(files[name]), runs, threads=threads))
        wanted = [whole[number] for run in runs for number in run]
        assert len(found) == len(wanted) and all(map(equal, found, wanted))


def fed(path: Path, runs: list[range], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many packets are decoded for some runs."""
    table, count = packets_of(path, None), 0
    entry = packets.entry_packets

    def counted(*arguments: Any) -> Iterator[Any]:
        nonlocal count
        for packet in entry(*arguments):
            count += 1
            yield packet

    with monkeypatch.context() as patch:
        patch.setattr(jumps, "entry_packets", counted)
        list(jumped(path, None, table, [number for run in runs for number in run], threads=1))
    return count


def test_what_lies_between_is_not_decoded(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    far = [range(21, 24), range(81, 84)]
    for name in ("closed.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "layers.mkv"):
        assert fed(files[name], far, monkeypatch) <= 40, name
    assert fed(files["one-key.mov"], far, monkeypatch) >= 84


def test_only_what_forgets_all_before_it_is_an_entry(files: dict[str, Path]) -> None:
    entries = {name: len(packets_of(path, None).entries) for name, path in files.items() if name != "plain.y4m"}
    assert entries["closed.mp4"] >= 5 and entries["hevc.mp4"] >= 5 and entries["vp9.webm"] >= 4
    # Pictures from which pictures come right bit by bit, and open groups of H.264, are no sure beginnings.
    assert entries["refresh.mp4"] == entries["open.mkv"] == entries["one-key.mov"] == 1


def test_a_table_that_lies_is_refused(files: dict[str, Path]) -> None:
    table = packets_of(files["closed.mp4"], None)
    false = replace(table, entries=np.arange(len(table.shown)))  # as if every packet were a key frame
    with pytest.raises(DataError):
        list(jumped(files["closed.mp4"], None, false, [33, 34]))
    late = replace(table, shown=table.shown + 1)
    with pytest.raises(DataError):
        list(jumped(files["closed.mp4"], None, late, [33, 34]))


def test_damaged_files_are_read_or_refused(files: dict[str, Path], tmp_path: Path) -> None:
    """Nothing but an error of ours, whatever stands in a file; what comes has the size that was said."""
    come = refused = 0
    for name in ("closed.mp4", "hevc.mp4", "vp9.webm", "av1.mp4", "open.mkv"):
        data = files[name].read_bytes()
        for seed in range(25):
            path = tmp_path / f"{seed}-{name}"
            path.write_bytes(mutated_bytes(data, random.Random(seed), [data]))
            with believed():
                if not is_read_in_parts(Clip(path)):
                    continue
            try:
                found = list(read_runs(Clip(path), [range(20, 26), range(60, 66)]))
            except DataError:
                refused += 1
                continue
            come += 1
            assert len(found) == 12 and {one.size for one in found} == {(128, 160)}
    assert come > 5 and refused > 1


def test_frames_before_the_first_key_frame_have_the_file_read_whole(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = packets_of(files["closed.mp4"], None)
    moved = table.shown.copy()
    moved[[0, 1]] = moved[[1, 0]]
    with believed():
        assert is_read_in_parts(Clip(files["closed.mp4"]))
        monkeypatch.setattr(promises, "packets_of", lambda *_: replace(table, shown=moved))
        assert not is_read_in_parts(Clip(files["closed.mp4"]))


# --- Scores -----------------------------------------------------------------------------------------------------


class Mean(torch.nn.Module):
    """The mean difference of two clips."""

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        return (reference - distorted).abs().mean((1, 2, 3, 4))


def sampler(most: int = 3) -> NetworkScorer:
    made = NetworkScorer(Mean(), runtime="eager", allow_random_weights=True, sampled=1)
    made.sampling = Sampling(1, most=most)
    return made


def test_a_long_file_is_read_in_parts_and_scores_the_same(files: dict[str, Path], walks: list[str]) -> None:
    pair = files["closed.mp4"], files["hevc.mp4"]
    survey._known.cache_clear()
    found = score(*pair, model=sampler())
    assert walks == [] and len(found.per_segment) == 3
    assert found.settings["sampled"]["blocks"] == "1 of 3"
    assert "read at 3 of 8 blocks only" in str(found.settings["notes"])
    whole = NetworkScorer(Mean(), runtime="eager", allow_random_weights=True, sampled=1)
    whole.sampling = Sampling(1, most=3)
    whole.sparse = lambda blocks: False  # type: ignore[method-assign]
    held = score(*pair, model=whole)
    assert sorted(set(walks)) == ["closed.mp4", "hevc.mp4"]
    assert [vars(one) for one in held.per_segment] == [vars(one) for one in found.per_segment]


def test_several_files_of_other_lengths_and_skips(files: dict[str, Path], tmp_path: Path, walks: list[str]) -> None:
    ffmpeg(
        "-i", str(files["closed.mp4"]), "-frames:v", "77", "-c:v", "libx264", "-g", "15", str(tmp_path / "short.mp4")
    )
    pairing = Pairing(length="trim", skip_reference=1, skip_distorted=2, subsample=2)
    those = [files["av1.mp4"], tmp_path / "short.mp4"]
    survey._known.cache_clear()
    found = score_several(files["vp9.webm"], those, model=sampler(1), pairing=pairing)
    assert walks == []
    plain = sampler(1)
    plain.sparse = lambda blocks: False  # type: ignore[method-assign]
    held = score_several(files["vp9.webm"], those, model=plain, pairing=pairing)
    for one, other in zip(found, held, strict=True):
        assert [vars(part) for part in one.per_segment] == [vars(part) for part in other.per_segment]


def test_files_that_can_not_be_entered_are_read_whole(files: dict[str, Path], tmp_path: Path, walks: list[str]) -> None:
    ffmpeg("-i", str(files["closed.mp4"]), "-c:v", "mpeg4", "-q:v", "3", str(tmp_path / "other.avi"))
    survey._known.cache_clear()
    found = score(files["closed.mp4"], tmp_path / "other.avi", model=sampler())
    assert set(walks) == {"closed.mp4", "other.avi"} and "notes" not in found.settings


def test_damage_where_it_is_read_is_refused_and_elsewhere_unseen(
    files: dict[str, Path], tmp_path: Path, walks: list[str]
) -> None:
    table, data = packets_of(files["closed.mp4"], None), files["closed.mp4"].read_bytes()
    sample = Sampling(1, most=3)
    taken = [number for number in range(FRAMES) if sample.takes(number // 12, 8)]

    def broken(number: int) -> Path:
        place = int(np.flatnonzero(table.numbers == number)[0])
        at = table.walk.places[place]
        path = tmp_path / f"broken-{number}.mp4"
        path.write_bytes(data[: at + 4] + bytes(60) + data[at + 64 :])
        return path

    # Between where decoding begins and a frame that is looked at, it may build on any.
    places = {int(number): place for place, number in enumerate(table.numbers)}
    built_on = {number for one in taken for number in places if table.entry(one) <= places[number] <= places[one]}
    unseen = min(set(range(FRAMES)) - built_on)
    with pytest.raises(DataError, match="damaged"):
        score(files["hevc.mp4"], broken(taken[15]), model=sampler())
    assert "broken" in " ".join(walks)  # it was looked at whole to say where
    walks.clear()
    found = score(files["hevc.mp4"], broken(unseen), model=sampler())
    assert walks == [] and "were not looked for" in str(found.settings["notes"])


def test_a_file_whose_size_changes_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    both = b""
    for name, size in (("one", "160:128"), ("other", "128:160")):
        ffmpeg("-i", str(files["closed.mp4"]), "-vf", f"scale={size}", "-c:v", "libx264", "-g", "20", "-bf", "0",
               str(tmp_path / f"{name}.264"))  # fmt: skip
        both += (tmp_path / f"{name}.264").read_bytes()
    (tmp_path / "both.264").write_bytes(both)
    ffmpeg("-r", "25", "-i", str(tmp_path / "both.264"), "-c", "copy", str(tmp_path / "both.mp4"))
    table = packets_of(tmp_path / "both.mp4", None)
    assert table is not None and len(table.entries) > 8
    with pytest.raises(DataError, match="several sizes"):
        list(jumped(tmp_path / "both.mp4", None, table, [100, 101]))
    with pytest.raises(DataError, match="the frame size changes at frame 90"):
        score(tmp_path / "both.mp4", tmp_path / "both.mp4", model=sampler())


def test_short_files_are_read_whole(files: dict[str, Path], walks: list[str]) -> None:
    survey._known.cache_clear()
    found = cv.score(files["closed.mp4"], files["hevc.mp4"], model=Mean(), allow_random_weights=True, sampled=0,
                     runtime="eager")  # fmt: skip
    assert walks and "notes" not in found.settings


def test_which_files_have_places(files: dict[str, Path], tmp_path: Path) -> None:
    assert is_read_in_parts(Clip(files["plain.y4m"]))
    assert not is_read_in_parts(Clip(files["closed.mp4"]))  # nothing is believed here
    assert probe(files["plain.y4m"]).frames == FRAMES
    assert not is_read_in_parts(Clip(tmp_path / "missing.mp4"))
