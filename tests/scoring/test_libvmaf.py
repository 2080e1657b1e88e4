"""libvmaf's scores: equal to those of ffmpeg called by hand, one pass for all, and its limits."""

import json

import numpy as np
import pytest

from compressvqa.errors import DataError
from compressvqa.scoring import find_scorers, score, score_several
from compressvqa.scoring.libvmaf import FEATURES, LibvmafScorer
from compressvqa.video import Clip, Pairing, ffmpeg, read_frames

ALL = ["psnr", "ssim", "ms_ssim", "vmaf_v0.6.1", "vmaf_v0.6.1neg", "vmaf_v1.0.16_3d0h"]
LARGE = {"height": 270, "width": 288}


def by_hand(reference, distorted, folder) -> dict[str, float]:
    """Means of ffmpeg's own log."""
    graph = "libvmaf=log_fmt=json:log_path=log.json:feature=name=psnr|name=float_ssim|name=float_ms_ssim:model="
    graph += r"'version=vmaf_v0.6.1|version=vmaf_v0.6.1neg\:name=neg|version=vmaf_v1.0.16_3d0h\:name=v1'"
    inputs = ["-i", str(distorted), "-i", str(reference)]
    ffmpeg.run([*inputs, "-lavfi", f"[0:v][1:v]{graph}", "-f", "null", "-"], folder=folder)
    pooled = json.loads((folder / "log.json").read_text())["pooled_metrics"]
    keys = ("psnr_y", "float_ssim", "float_ms_ssim", "vmaf", "neg", "v1")
    return {name: pooled[key]["mean"] for name, key in zip(ALL, keys, strict=True)}


@pytest.mark.parametrize("bitdepth", [8, 10])
def test_all_in_one_pass_equal_ffmpeg_called_by_hand(write, tmp_path, bitdepth):
    reference, distorted = (write(f"{n}.y4m", 5, noise=n, bitdepth=bitdepth, **LARGE) for n in (0, 0.05))
    (scorer,) = find_scorers(ALL)
    (found,) = scorer.score(Clip(reference), [Clip(distorted)], Pairing())
    wanted = by_hand(reference, distorted, tmp_path)
    assert {name: course.score for name, course in found.items()} == pytest.approx(wanted, abs=2e-4)
    assert len(found["psnr"].segments) == 5


def test_psnr_against_numpy(write):
    reference, distorted = write("r.y4m", 3), write("d.y4m", 3, noise=0.02)
    expected = []
    for r, d in zip(read_frames(reference), read_frames(distorted), strict=True):
        mse = np.mean((r.y.astype(float) - d.y.astype(float)) ** 2)
        expected.append(10 * np.log10(255**2 / mse))
    assert score(reference, distorted, model="psnr").score == pytest.approx(np.mean(expected), abs=1e-4)


def test_several_files_of_an_odd_size_score_as_they_do_alone(write):
    """Pictures are stacked; an odd height must not let one bleed into the next."""
    reference = write("r.y4m", 4, height=97, width=111)
    files = [write(f"{n}.y4m", 4, noise=n, height=97, width=111) for n in (0.02, 0.2)]
    together = score_several(reference, files, model="psnr")
    assert [one.score for one in together] == [score(reference, file, model="psnr").score for file in files]
    assert together[0].score > together[1].score + 5


def test_a_file_that_ends_earlier_beside_another(write):
    reference, files = write("r.y4m", 20), [write("a.y4m", 9, noise=0.1), write("b.y4m", 20, noise=0.1)]
    short, long = score_several(reference, files, model="psnr", pairing=Pairing(length="trim"))
    assert (len(short.per_segment), len(long.per_segment)) == (9, 20)
    assert short.score == score(reference, files[0], model="psnr", pairing=Pairing(length="trim")).score


def test_subsampling_takes_whole_blocks_of_what_all_frames_gave(write):
    reference, distorted = write("r.y4m", 30), write("d.y4m", 30, noise=0.1)
    every = score(reference, distorted, model="vmaf_v0.6.1")
    some = score(reference, distorted, model="vmaf_v0.6.1", pairing=Pairing(subsample=2))
    assert list(some.per_segment) == [part for part in every.per_segment if part.first_frame // 12 % 2 == 0]


def test_mixed_bit_depths_meet_at_the_larger(write):
    ten = score(write("r.y4m", 3, bitdepth=10), write("d.y4m", 3), model="psnr")
    assert "10 bit" in ten.settings["compared as"]
    assert ten.score > 45  # only the eight-bit rounding differs


def test_grey_pictures(tmp_path):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert score(tmp_path / "a.png", tmp_path / "a.png", model="psnr").score >= 60


def test_version_one_is_refused_where_it_would_print_zero(write):
    reference = write("r.y4m", 3, height=240, width=240)
    with pytest.raises(DataError, match=r"needs 256 pixels"):
        score(reference, reference, model="vmaf_v1.0.16_3d0h")


def test_names(write):
    with pytest.raises(DataError, match="there is none"):
        LibvmafScorer(["psnr"]).score(None, [Clip(write("r.y4m", 3))], Pairing())
    with pytest.raises(DataError, match="not asked for 'vmaf'"):
        LibvmafScorer(["vmaf"])
    found = find_scorers(list(FEATURES))
    assert len(found) == 1 and [facts.name for facts in found[0].facts] == list(FEATURES)
    assert len({facts.identity for facts in found[0].facts}) == len(FEATURES)
