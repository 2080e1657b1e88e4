"""What libvmaf and the xpsnr filter measure by name: equal to ffmpeg called by hand, at each depth."""

import json
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest

from compressvqa.errors import DataError
from compressvqa.scoring import find_scorers, score, score_all
from compressvqa.scoring.features import CAP, FEATURES
from compressvqa.video import Clip, Pairing
from tests.clips import ffmpeg, make, raw_bytes

NAMES = ["psnr", "psnr_cb", "psnr_cr", "psnr_yuv", "psnr_hvs", "ciede", "cambi", "cambi_added"]
XPSNR = ["xpsnr", "xpsnr_cb", "xpsnr_cr"]
SIZE = "224x176"


@pytest.fixture(scope="module", params=["yuv420p", "yuv420p10le", "yuv444p"])
def pair(request, tmp_path_factory):
    """A lossless moving picture and a noisy copy of it, of one depth and chroma."""
    folder = tmp_path_factory.mktemp(request.param)
    form = ("-pix_fmt", request.param, "-strict", "-1")
    reference = make(folder / "r.y4m", *form, size=SIZE, frames=5)
    distorted = make(folder / "d.y4m", "-vf", "noise=alls=20:allf=t:all_seed=7,boxblur=1", *form, size=SIZE, frames=5)
    return reference, distorted


def means(reference, distorted, names) -> dict[str, float]:
    found = {}
    for scorer in find_scorers(names):
        (courses,) = scorer.score(Clip(reference), [Clip(distorted)], Pairing())
        found |= {name: course.score for name, course in courses.items()}
    return found


def libvmaf(reference, distorted, folder) -> dict[str, float]:
    """Means of ffmpeg's own log."""
    features = r"name=psnr|name=psnr_hvs|name=ciede|name=cambi\:full_ref=true"
    log = folder / "by_hand.json"
    graph = f"[0:v][1:v]libvmaf=log_fmt=json:log_path={log}:feature='{features}':model=''"
    ffmpeg("-i", str(distorted), "-i", str(reference), "-lavfi", graph, "-f", "null", "-")
    return {name: pooled["mean"] for name, pooled in json.loads(log.read_text())["pooled_metrics"].items()}


def xpsnr(reference, distorted, rate: int = 25) -> list[float]:
    """What ffmpeg's filter prints at the end: Y, U, V. Its documentation puts the reference first."""
    inputs = [word for path in (reference, distorted) for word in ("-r", str(rate), "-i", str(path))]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *inputs, "-lavfi", "[0:v][1:v]xpsnr", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    line = re.findall(r"XPSNR  y: (\S+)  u: (\S+)  v: (\S+)", said)[-1]
    return [float(value) for value in line]


def test_all_equal_ffmpeg_called_by_hand(pair, tmp_path):
    found, wanted = means(*pair, NAMES), libvmaf(*pair, tmp_path)
    keys = {"psnr": "psnr_y", "ciede": "ciede2000", "cambi_added": "cambi_full_reference"}
    for name in NAMES:
        if name == "psnr_yuv":
            mixed = (6 * wanted["psnr_y"] + wanted["psnr_cb"] + wanted["psnr_cr"]) / 8
            assert found[name] == pytest.approx(mixed, abs=1e-5)
        else:
            assert found[name] == pytest.approx(wanted[keys.get(name, name)], abs=1e-5), name
    assert found["cambi"] >= 0 and found["psnr_hvs"] < 60


def test_xpsnr_equals_ffmpegs_filter_with_the_reference_first(pair):
    found = means(*pair, XPSNR)
    assert [found[name] for name in XPSNR] == pytest.approx(xpsnr(*pair), abs=1e-3)
    turned = xpsnr(*reversed(pair))
    assert abs(turned[0] - found["xpsnr"]) > 0.01  # the order matters: activity is that of the first


def test_identical_files_get_what_each_metric_says_they_get(pair):
    reference, _ = pair
    found = means(reference, reference, [*NAMES, *XPSNR, "ssim"])
    depth = 10 if "10" in reference.parent.name else 8
    peak = 60 if depth == 8 else 72
    assert {name: found[name] for name in ("psnr", "psnr_cb", "psnr_yuv")} == pytest.approx(
        {"psnr": peak, "psnr_cb": peak, "psnr_yuv": peak}
    )
    assert {found[name] for name in (*XPSNR, "psnr_hvs", "ciede")} == {CAP}
    assert (found["ssim"], found["cambi_added"]) == (1, 0)
    for name in ("psnr", "xpsnr", "psnr_hvs", "ciede"):
        said = FEATURES[name].scale.identical
        assert f"{peak}" in said if name == "psnr" else f"{CAP:g}" in said
    assert found["cambi"] == pytest.approx(means(reference, reference, ["cambi"])["cambi"])


def test_chroma_psnr_against_numpy(pair):
    planes = []
    pixel_format = pair[0].parent.name.rstrip("0")
    kind = np.dtype("<u2") if "10" in pixel_format else np.dtype("u1")
    for path in pair:
        samples = np.frombuffer(raw_bytes(path, pixel_format), kind).reshape(5, -1).astype(float)
        luma = 224 * 176
        chroma = (samples.shape[1] - luma) // 2
        planes.append((samples[:, luma : luma + chroma], samples[:, luma + chroma :]))
    peak = 255 * (4 if "10" in pixel_format else 1) + (3 if "10" in pixel_format else 0)
    for number, name in enumerate(("psnr_cb", "psnr_cr")):
        errors = ((planes[0][number] - planes[1][number]) ** 2).mean(axis=1)
        assert means(*pair, [name])[name] == pytest.approx(np.mean(10 * np.log10(peak**2 / errors)), abs=1e-4)


def test_xpsnr_depends_on_the_frame_rate_as_the_filter_does(tmp_path):
    """From 32 frames a second on it weighs motion by second differences."""
    found = {}
    for rate in (25, 50):
        reference = make(tmp_path / f"r{rate}.y4m", size="128x96", rate=rate)
        distorted = make(tmp_path / f"d{rate}.y4m", "-vf", "boxblur=1", size="128x96", rate=rate)
        found[rate] = means(reference, distorted, ["xpsnr"])["xpsnr"]
        assert found[rate] == pytest.approx(xpsnr(reference, distorted, rate)[0], abs=1e-3)
    # The same pictures at another rate: the reader passes the rate on to the filter.
    slow = make(tmp_path / "s.y4m", size="128x96", rate=50)
    blurred = make(tmp_path / "b.y4m", "-vf", "boxblur=1", size="128x96", rate=50)
    retimed = [make_again(path, tmp_path / f"{path.stem}25.y4m") for path in (slow, blurred)]
    assert abs(means(*retimed, ["xpsnr"])["xpsnr"] - found[50]) > 0.05


def make_again(path, to):
    """The same pictures, said to be shown 25 a second."""
    ffmpeg("-r", "25", "-i", str(path), "-c:v", "wrapped_avframe", "-f", "yuv4mpegpipe", str(to))
    return to


def test_deep_pictures_don_t_draw_others_down(tmp_path):
    """PSNR-HVS and XPSNR can't be measured at 16 bit; PSNR beside them still is."""
    form = ("-pix_fmt", "yuv420p16le", "-strict", "-1")
    reference = make(tmp_path / "r.y4m", *form, size="96x96", frames=3)
    distorted = make(tmp_path / "d.y4m", "-vf", "boxblur=1", *form, size="96x96", frames=3)
    alone = means(reference, distorted, ["psnr"])
    together = means(reference, distorted, ["psnr", "psnr_hvs", "xpsnr"])
    assert together["psnr"] == alone["psnr"]
    twelve = [tmp_path / f"{name}12.y4m" for name in "rd"]
    for path, to in zip((reference, distorted), twelve, strict=True):
        ffmpeg("-i", str(path), "-pix_fmt", "yuv420p12le", "-strict", "-1", str(to))
    assert together["xpsnr"] == pytest.approx(xpsnr(*twelve)[0], abs=0.01)
    assert means(reference, reference, ["psnr"])["psnr"] == 108


def test_one_file_equal_frames_among_others(tmp_path):
    """A frame without an error counts as none in XPSNR, and as 100 dB in its course."""
    reference = make(tmp_path / "r.y4m", size="128x96", frames=6)
    distorted = make(tmp_path / "d.y4m", "-vf", "boxblur=1:enable='gte(n,3)'", size="128x96", frames=6)
    (found,) = score_all(reference, [distorted], ["xpsnr"])
    assert [part.score == CAP for part in found.per_segment] == [True] * 3 + [False] * 3
    assert found.score == pytest.approx(xpsnr(reference, distorted)[0], abs=1e-3)


def test_cambi_needs_no_reference_and_sees_the_file_at_its_own_size(tmp_path):
    banded = make(tmp_path / "b.y4m", "-pix_fmt", "yuv420p", source="gradients", size="320x240", frames=3)
    alone = score(None, banded, model="cambi")
    assert alone.model["mode"] == "NR" and alone.model["direction"] == "lower is better"
    small = make(tmp_path / "s.y4m", "-pix_fmt", "yuv420p", source="gradients", size="256x192", frames=3)
    beside = score_all(banded, [small], ["cambi", "psnr"])
    assert [one.name for one in beside] == ["cambi", "psnr"]
    assert beside[0].score == score(None, small, model="cambi").score
    assert beside[0].settings["compared as"].startswith("256x192")


def test_what_would_mean_nothing_is_refused(tmp_path):
    grey = make(tmp_path / "g.y4m", "-pix_fmt", "gray", size="96x96", frames=2)
    assert means(grey, grey, ["psnr_hvs", "xpsnr", "psnr"]) == {"psnr_hvs": CAP, "xpsnr": CAP, "psnr": 60}
    for name in ("psnr_cb", "psnr_yuv", "xpsnr_cr"):
        with pytest.raises(DataError, match=f"{name} is of chroma"):
            score(grey, grey, model=name)
    small = make(tmp_path / "s.y4m", size="160x160", frames=2)
    with pytest.raises(DataError, match="216 pixels along the larger side"):
        score(None, small, model="cambi")
    for names, refused in ((["psnr", "ms_ssim"], "ms_ssim needs 176"), (["vmaf_v1.0.16_3d0h"], "3d0h needs 256")):
        with pytest.raises(DataError, match=f"{refused} pixels a side, and the picture has 160x160"):
            score_all(small, [small], names)


def test_names_of_other_tools():
    (scorer,) = find_scorers(["vmaf", "psnr_y", "ms-ssim", "CIEDE2000"])
    assert [facts.name for facts in scorer.facts] == ["vmaf_v0.6.1", "psnr", "ms_ssim", "ciede"]
