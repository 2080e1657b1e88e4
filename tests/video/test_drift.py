"""Files out of step are seen, said and brought in step; files in step, whatever was done to them, are not accused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import ffmpeg

from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.video import Clip, Pairing, look
from compressvqa.video.align import blocks
from compressvqa.video.drift import Event, Watch, describe, events, thumbnail
from compressvqa.video.read import read_frames

SIZE, FRAMES = (96, 160), 72


def scene(rng, frames=FRAMES):
    """A textured picture under a moving window, with a cut in the middle: (frames, H, W) uint8."""
    shown = []
    for length in (frames // 2, frames - frames // 2):
        noise = rng.normal(size=(200, 400))
        for _ in range(6):
            noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, -1, 0)) / 4
        wide = np.clip(128 + 60 * (noise - noise.mean()) / noise.std(), 16, 235)
        for n in range(length):
            top, left = 40 + round(25 * np.sin(n / 7)), 3 * n
            shown.append(wide[top : top + SIZE[0], left : left + SIZE[1]].astype(np.uint8))
    return np.stack(shown)


def write(path: Path, luma, *options: str) -> Path:
    """Luma as a video; mid-grey chroma. Lossless, or encoded with `options`."""
    grey = np.full((2, SIZE[0] // 2, SIZE[1] // 2), 128, np.uint8).tobytes()
    raw = path.with_suffix(".yuv")
    raw.write_bytes(b"".join(frame.tobytes() + grey for frame in luma))
    ffmpeg("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{SIZE[1]}x{SIZE[0]}", "-r", "25", "-i", str(raw),
           *(options or ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")), str(path))  # fmt: skip
    raw.unlink()
    return path


def coded(crf: int):
    return ("-c:v", "libx264", "-preset", "medium", "-crf", str(crf))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """(luma of the reference, its file)."""
    folder = tmp_path_factory.mktemp("drift")
    luma = scene(np.random.default_rng(5))
    return luma, write(folder / "reference.mp4", luma)


def found(reference: Path, distorted: Path, **settings) -> list[Event]:
    pairing = Pairing(**settings)
    left, right = Clip(reference), Clip(distorted)
    in_step = blocks(left, [right], [look(left, right, pairing)], pairing, block=12)
    for _ in in_step:
        pass
    return [Event(**event) for event in in_step.said(0).get("out_of_step", [])]


N = list(range(FRAMES))
# name: (frames of the reference that the distorted video shows, what is to be found)
FAULTS = {
    "dropped and doubled": (N[:20] + N[21:50] + N[49:], [Event("dropped", 20, 20, 1), Event("doubled", 49, 49, 1)]),
    "doubled and dropped": (N[:21] + N[20:50] + N[51:], [Event("doubled", 20, 21, 1), Event("dropped", 50, 51, 1)]),
    "late": (N[3:] + [71] * 3, [Event("offset", 3, 0, 3)]),
    "early": ([0] * 2 + N[:-2], [Event("offset", 0, 2, -2)]),
    "one frame stood still": ([*N[:30], 29, *N[31:]], [Event("doubled", 29, 30, 1), Event("dropped", 30, 31, 1)]),
    "four at once": (N[:20] + N[24:] + [71] * 4, [Event("dropped", 20, 20, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("crf", [18, 33])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_seen_where_they_are_and_taken_out(clips, tmp_path, fault, crf):
    luma, reference = clips
    shown, want = FAULTS[fault]
    distorted = write(tmp_path / "distorted.mp4", luma[shown], *coded(crf))
    seen = found(reference, distorted)
    assert [event.kind for event in seen] == [event.kind for event in want]
    for one, other in zip(seen, want, strict=True):
        assert one.frames == other.frames
        assert abs(one.reference - other.reference) <= 1 and abs(one.distorted - other.distorted) <= 1
    # In step, each distorted frame stands beside the reference frame that it was made from.
    sight = look(Clip(reference), Clip(distorted), Pairing(align="frames"))
    left, right = sight.shown
    wrong = [r for r, d in zip(left, right, strict=True) if shown[d] != r]
    assert len(wrong) <= 1 and len(left) >= FRAMES - 5
    assert sight.differences[-1].what == "alignment" and "Was out of step" in sight.differences[-1].hint


def test_an_offset_is_taken_out_of_the_score(clips, tmp_path):
    """The same frames scored by hand: the reference cut by ffmpeg."""
    luma, reference = clips
    distorted = write(tmp_path / "late.mp4", luma[FAULTS["late"][0]], *coded(30))
    right = score(reference, distorted, model="psnr", pairing=Pairing(skip_reference=3, frames=FRAMES - 3))
    aligned = score(reference, distorted, model="psnr", pairing=Pairing(align="offset"))
    assert aligned.score == pytest.approx(right.score, abs=1e-6) and len(aligned.per_segment) == FRAMES - 3
    assert aligned.settings["align"] == "offset" and "notes" not in aligned.settings
    plain = score(reference, distorted, model="psnr")
    assert plain.score < right.score - 5
    assert any("its frame 0 shows frame 3 of the reference" in note for note in plain.settings["notes"])
    assert ("note", plain.settings["notes"][0]) in plain.lines() and "out_of_step" in plain.to_dict()["settings"]


def test_a_frame_that_is_missing_is_found_by_name(clips, tmp_path):
    luma, reference = clips
    short = write(tmp_path / "short.mp4", luma[N[:20] + N[21:]], *coded(25))
    with pytest.raises(DataError, match=r"frame count: 72 .* and 71 .*--align frames"):
        look(Clip(reference), Clip(short), Pairing())
    sight = look(Clip(reference), Clip(short), Pairing(align="frames"))
    assert sight.shown[0].tolist() == N[:20] + N[21:] and sight.frames == FRAMES - 1
    # A file that was cut is no matter of alignment.
    half = write(tmp_path / "half.mp4", np.concatenate([luma, luma, luma]), *coded(40))
    with pytest.raises(DataError, match="frame count: 216"):
        look(Clip(half), Clip(reference), Pairing(align="frames"))


def test_files_of_two_offsets_are_scored_beside_one_reference_as_alone(clips, tmp_path):
    from compressvqa.scoring import score_several

    luma, reference = clips
    late = write(tmp_path / "late.mp4", luma[FAULTS["late"][0]], *coded(30))
    early = write(tmp_path / "early.mp4", luma[FAULTS["early"][0]], *coded(30))
    pairing = Pairing(align="offset")
    both = score_several(reference, [late, early], model="psnr", pairing=pairing)
    for one, path in zip(both, (late, early), strict=True):
        assert one.score == score(reference, path, model="psnr", pairing=pairing).score


def still(luma):
    return np.repeat(luma[:1], FRAMES, axis=0)


def telecine(luma):
    return luma[[n * 4 // 5 for n in range(FRAMES)]]


def fade(luma):
    gain = np.clip(np.arange(FRAMES) / 24, 0, 1) * np.clip((FRAMES - 1 - np.arange(FRAMES)) / 24, 0, 1)
    return (16 + (luma - 16.0) * gain[:, None, None]).astype(np.uint8)


INNOCENT = {
    "as it is": lambda luma: luma,
    "still": still,
    "black": lambda luma: np.full_like(luma, 16),
    "repeats": lambda luma: luma[[n % 6 for n in range(FRAMES)]],
    "telecine": telecine,
    "slow motion": lambda luma: luma[[n // 3 for n in range(FRAMES)]],
    "fades": fade,
    "cuts": lambda luma: luma[[(n // 4 * 37 + n) % FRAMES for n in range(FRAMES)]],
    "flashes": lambda luma: np.where((np.arange(FRAMES) % 9 == 0)[:, None, None], 235, luma).astype(np.uint8),
}


@pytest.mark.parametrize("crf", [20, 51])
@pytest.mark.parametrize("kind", INNOCENT)
def test_nothing_is_said_of_files_in_step(clips, tmp_path, kind, crf):
    luma, _ = clips
    content = INNOCENT[kind](luma)
    reference = write(tmp_path / "reference.mp4", content)
    distorted = write(tmp_path / "distorted.mp4", content, "-bf", "8", *coded(crf))
    assert found(reference, distorted) == []
    assert look(Clip(reference), Clip(distorted), Pairing(align="frames")).frames == FRAMES


@pytest.mark.parametrize(
    "change",
    ["noise=alls=30:allf=t", "gblur=3", "eq=brightness=.2:contrast=.6", "drawbox=0:0:80:40:white:fill", "scale=48:28"],
)
def test_other_distortions_are_no_fault_of_time(clips, tmp_path, change):
    _, reference = clips
    distorted = tmp_path / "distorted.mp4"
    ffmpeg("-i", str(reference), "-vf", f"{change},scale=160:96", *coded(28), str(distorted))
    assert found(reference, distorted) == []


def test_a_thumbnail_is_the_mean_of_its_cells():
    """Cells of one value each: whatever is read of a cell, that is its mean."""
    from compressvqa.video.frames import Colour, Planes

    cells = np.arange(18 * 32, dtype=np.uint16).reshape(18, 32)
    big = np.kron(cells, np.ones((5, 7), np.uint16))
    small = thumbnail(Planes(big, None, None, "400", Colour(10, "bt709", True)))
    assert small.shape == (576,) and np.array_equal(small * 4, cells.ravel())
    limited = thumbnail(Planes(np.full((4, 4), 235, np.uint8), None, None, "400", Colour()))
    assert np.allclose(limited, 255)


def test_long_files_are_watched_in_pieces_and_give_the_same(clips):
    _, reference = clips
    small = [thumbnail(planes) for planes in read_frames(reference)] * 34
    watch = Watch()
    shifted = [*small[:1500], *small[1501:]]
    for number, one in enumerate(shifted):
        watch.push(small[number], one)
    (event,) = events(watch.offsets())
    assert event == Event("dropped", 1500, 1500, 1) and len(watch._distorted) < 1200


def test_many_places_are_summed_up():
    many = [Event("dropped", n, n, 1) for n in range(10)]
    assert "and 6 more such places" in describe(many)


def test_what_alignment_leaves_out_is_counted_among_the_frames_asked_for(tmp_path):
    luma = scene(np.random.default_rng(5))
    reference, distorted = (
        write(tmp_path / "r.mkv", luma, "-c:v", "ffv1"),
        write(tmp_path / "d.mkv", luma[1:], "-c:v", "ffv1"),
    )
    for frames in (None, 20):
        sight = look(Clip(reference), Clip(distorted), Pairing(align="offset", frames=frames))
        (said,) = sight.differences
        assert (said.reference, said.distorted) == ("1 frame left out", "0 frames left out")
        assert f"{frames or FRAMES - 1} frames compared" in said.hint


def test_what_was_done_is_not_advised_again(tmp_path):
    """An alignment that left something: here, one that was not applied."""
    luma = scene(np.random.default_rng(6))
    reference = write(tmp_path / "r.mkv", luma, "-c:v", "ffv1")
    distorted = write(tmp_path / "d.mkv", np.delete(luma, [20], axis=0), "-c:v", "ffv1")
    pairing = Pairing(align="frames")
    sight = look(Clip(reference), Clip(distorted), pairing)
    numbers = np.arange(FRAMES - 1)
    unmended = replace(sight, shown=(numbers, numbers))
    read = blocks(Clip(reference), [Clip(distorted)], [unmended], pairing, block=12)
    for _ in read:
        pass
    (note,) = read.said(0)["notes"]
    assert note.startswith("out of step: frame 20 of the reference is missing") and "--align" not in note
