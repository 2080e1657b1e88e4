"""What packets promise: sound files are decoded once, and where packets promise too much a score is what it was."""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import ffmpeg, make
from hostile.mutations import mutated_bytes

from compressvqa.errors import CompressVQAError
from compressvqa.scoring import NetworkScorer, blocks, score
from compressvqa.video import Pairing, promises, survey
from compressvqa.video.promises import Promises, believed, promised

MAKERS = {
    "h264.mp4": ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2"),
    "h264.mkv": ("-c:v", "libx264", "-preset", "veryfast", "-x264-params", "open-gop=1:keyint=12:bframes=3"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-cpu-used", "8", "-auto-alt-ref", "1", "-lag-in-frames", "9"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12"),
}  # fmt: skip


class Distance(torch.nn.Module):
    """The mean difference of two clips."""

    def forward(self, reference: torch.Tensor, distorted: torch.Tensor) -> torch.Tensor:
        return (reference - distorted).abs().mean((1, 2, 3, 4))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("promises")
    return {name: make(folder / name, *how, "-pix_fmt", "yuv420p", frames=30) for name, how in MAKERS.items()}


def scored(reference: Path, distorted: Path, **pairing: object) -> object:
    """What a scoring says: its result, or its error."""
    scorer = NetworkScorer(Distance(), runtime="eager", allow_random_weights=True)
    try:
        return score(reference, distorted, model=scorer, pairing=Pairing(**pairing)).to_dict()  # type: ignore[arg-type]
    except CompressVQAError as error:
        return str(error)


def forget() -> None:
    survey._known.cache_clear()


def by_surveys(monkeypatch: pytest.MonkeyPatch, *files: Path, **pairing: object) -> object:
    """The same where nothing is believed."""
    forget()
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "believed", lambda: contextlib.nullcontext(Promises()))
        return scored(*files, **pairing)


@pytest.mark.parametrize("name", MAKERS)
def test_packets_promise_what_decoding_finds(files: dict[str, Path], name: str) -> None:
    forget()
    with believed() as given:
        found = promised(files[name], None)
    assert found is not None and survey.same(found, survey.survey(files[name]))
    assert given.kept()
    assert promised(files[name], None) is None  # outside, nothing is believed


def test_each_file_is_decoded_once(files: dict[str, Path], walks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pair = files["h264.mp4"], files["hevc.mp4"]
    wanted = by_surveys(monkeypatch, *pair)
    assert sorted(walks) == ["h264.mp4", "h264.mp4", "hevc.mp4", "hevc.mp4"]
    walks.clear()
    forget()
    assert scored(*pair) == wanted
    assert sorted(walks) == ["h264.mp4", "hevc.mp4"]
    with believed():
        assert promised(pair[0], None) is None  # what it holds is known by now


@pytest.mark.parametrize("how", [{"frames": 7}, {"length": "trim"}, {"skip_distorted": 3, "length": "trim"}], ids=str)
def test_files_that_are_not_read_to_their_end_are_looked_at_whole(
    files: dict[str, Path], how: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = make(tmp_path / "long.mp4", *MAKERS["h264.mp4"], "-pix_fmt", "yuv420p", "-movflags", "+faststart", frames=60)
    broken = bytearray(long.read_bytes())
    broken[-600:-300] = bytes(300)  # the last frames, which no scoring of 30 looks at
    (tmp_path / "broken.mp4").write_bytes(broken)
    for other in (long, tmp_path / "broken.mp4"):
        told = by_surveys(monkeypatch, files["h264.mp4"], other, **how)
        assert _anew(files["h264.mp4"], other, **how) == told
        assert isinstance(told, str) == (other != long and "frames" not in how)


def _anew(*files: Path, **how: object) -> object:
    forget()
    return scored(*files, **how)


def test_frames_of_two_moments_and_hidden_ones_are_left_to_decoding(files: dict[str, Path], tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"  # an edit list hides the frames before its first key frame
    ffmpeg("-ss", "0.3", "-i", str(files["h264.mp4"]), "-c", "copy", str(late))
    transport = tmp_path / "transport.ts"
    ffmpeg("-i", str(files["h264.mp4"]), "-c", "copy", str(transport))
    with believed():
        assert promised(transport, None) is None
        found = promised(late, None)
        assert found is None or survey.same(found, survey.survey(late))


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_damaged_file_is_told_as_surveys_tell_it(
    files: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, told = files["h264.mp4"], set()
    for number in range(30):
        dice = random.Random(f"{name}/{number}")
        damaged = tmp_path / f"{number}-{name}"
        data = bytearray(files[name].read_bytes())
        if number % 3:  # a few bytes of the pictures, which packets know nothing of
            for _ in range(dice.choice((1, 4, 40))):
                data[dice.randrange(len(data) // 4, len(data))] = dice.randrange(256)
            damaged.write_bytes(data)
        else:
            damaged.write_bytes(mutated_bytes(bytes(data), dice, [bytes(data)]))
        wanted = by_surveys(monkeypatch, reference, damaged)
        assert _anew(reference, damaged) == wanted
        told.add(isinstance(wanted, str))
    assert True in told  # some were refused


@pytest.mark.parametrize("lie", ["fewer", "more", "uneven", "notes"])
def test_a_promise_that_is_not_kept_changes_no_score(
    files: dict[str, Path], lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = files["h264.mp4"], files["hevc.mp4"]
    wanted = by_surveys(monkeypatch, *pair)
    true = survey.survey(pair[1])
    assert true.times is not None
    told = {
        "fewer": replace(true, frames=24, times=true.times[:24]),
        "more": replace(true, frames=36, times=np.arange(36) / 25),
        "uneven": replace(true, times=np.cumsum([0, *[0.01, 0.01, 0.1] * 10][:30])),
        "notes": replace(true, notes=("all is well",)),
    }[lie]
    forget()
    monkeypatch.setattr(promises, "_said", lambda path, wanted: told if path == pair[1] else None)
    assert scored(*pair) == wanted
