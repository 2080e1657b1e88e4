"""Still pictures are compared at the depth that their files hold."""

import numpy as np
import pytest
from clips import ffmpeg
from PIL import Image

from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.video import probe, read_clip

H, W = 64, 80
BT601 = np.array([0.299, 0.587, 0.114])
RNG = np.random.default_rng(0)
SMOOTH = 0.5 + 0.3 * np.sin(np.arange(H)[:, None, None] / 9 + np.arange(W)[None, :, None] / 7 + np.arange(3))


def write(path, rgb, bits, kind=None, *options):
    """A picture of the codes nearest to `rgb` in [0, 1]; ffmpeg writes what Pillow can't."""
    codes = np.rint(rgb * (2**bits - 1)).astype("<u2" if bits > 8 else "u1")
    if kind is None:
        Image.fromarray(codes).save(path)
        return path
    raw = path.with_suffix(".raw")
    raw.write_bytes(codes.tobytes())
    form = ("-f", "rawvideo", "-pixel_format", kind, "-video_size", f"{W}x{H}")
    ffmpeg(*form, "-i", str(raw), *options, "-frames:v", "1", "-update", "1", str(path))
    return path


def luma_psnr(a, b, weights=BT601) -> float:
    """Of luma in limited range, whose peak is the largest code, as libvmaf counts it at 16 bit."""
    return 10 * np.log10(65535**2 / np.mean((219 * 256 * ((a - b) @ weights)) ** 2))


def test_eight_bits_of_rgb_are_compared_without_rounding_their_luma(tmp_path):
    """Rounded to 8 bits of luma, the second of these loses half a decibel."""
    for noise in (4, 1):
        a = np.rint(SMOOTH * 255)
        b = np.clip(a + np.rint(noise * RNG.standard_normal(a.shape)), 0, 255)
        r, d = write(tmp_path / "a.png", a / 255, 8), write(tmp_path / "b.bmp", b / 255, 8)
        assert score(r, d, model="psnr").score == pytest.approx(luma_psnr(a / 255, b / 255), abs=0.002)
    one = a.copy()
    one[3, 5, 1] += 1
    found = score(r, write(tmp_path / "one.png", one / 255, 8), model="psnr").score
    assert found == pytest.approx(luma_psnr(a / 255, one / 255), abs=0.1)  # 87 dB: codes of 16 bit are whole numbers


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("a.png", "rgb48le", ()), ("a.tiff", "rgb48le", ("-compression_algo", "deflate")), ("a.ppm", "rgb48le", ()),
     ("a.tiff", "rgb48le", ("-compression_algo", "raw")), ("a.png", "rgba64le", ()), ("a.tiff", "rgba64le", ())],
)  # fmt: skip
def test_sixteen_bits_of_rgb_are_read(tmp_path, name, kind, options):
    rgb = SMOOTH + 0.001 * RNG.standard_normal(SMOOTH.shape)  # a quarter of a step of 8 bits
    shown = rgb if kind == "rgb48le" else np.concatenate([rgb, np.ones((H, W, 1))], axis=-1)
    deep = write(tmp_path / name, shown, 16, kind, *options)
    facts = probe(deep)
    assert (facts.colour.bitdepth, facts.rgb, facts.alpha) == (16, True, kind == "rgba64le")
    assert np.abs(read_clip(deep, frames=1)[0].permute(1, 2, 0).numpy() - rgb).max() < 4e-5
    shallow = write(tmp_path / "shallow.png", rgb, 8)
    expected = luma_psnr(rgb, np.rint(rgb * 255) / 255)
    assert expected > 58
    assert score(deep, shallow, model="psnr").score == pytest.approx(expected, abs=0.02)
    assert score(deep, deep, model="psnr").score == 108


@pytest.mark.parametrize(("name", "kind"), [("g.png", "gray16le"), ("g.tiff", "gray16le"), ("g.pgm", "gray16le"),
                                            ("g.png", "ya16le")])  # fmt: skip
def test_sixteen_bits_of_grey_are_read(tmp_path, name, kind):
    grey = SMOOTH[..., 0] + 0.001 * RNG.standard_normal((H, W))
    shown = grey if kind == "gray16le" else np.stack([grey, np.ones((H, W))], axis=-1)
    found = read_clip(write(tmp_path / name, shown, 16, kind), frames=1)[0]
    assert np.abs(found.numpy() - grey).max() < 2e-5


def test_a_ten_bit_still_of_a_video_codec_keeps_its_depth(tmp_path):
    path = tmp_path / "a.avif"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1", "-pix_fmt", "yuv420p10le", "-c:v", "libsvtav1",
           "-svtav1-params", "lp=1", str(path))  # fmt: skip
    assert (probe(path).colour.bitdepth, probe(path).frames) == (10, 1)
    assert score(path, path, model="psnr").score == 72


def test_a_deep_picture_that_is_cut_off_is_refused(tmp_path):
    deep = write(tmp_path / "a.png", SMOOTH, 16, "rgb48le")
    deep.write_bytes(deep.read_bytes()[: deep.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.png: is cut off or damaged"):
        read_clip(deep, frames=1)


def test_a_picture_without_a_white_is_refused(tmp_path):
    Image.fromarray((SMOOTH[..., 0] * 9).astype(np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="floating point"):
        read_clip(tmp_path / "a.tiff", frames=1)
