"""Pairs whose colours are written in different ways: each is read by what its file says, and both meet in one form."""

from pathlib import Path

import numpy as np
import pytest
from clips import ffmpeg

from compressvqa.errors import DataError
from compressvqa.scoring import score, score_several
from compressvqa.video import Clip, Pairing, look, probe, read_clip
from compressvqa.video.frames import Colour, Planes
from compressvqa.video.matrices import LUMA_WEIGHTS, encoding
from compressvqa.video.recode import recode
from compressvqa.video.reformat import Reformatter

EXACT = "flags=accurate_rnd+full_chroma_int+full_chroma_inp"
CODERS = {".mkv": ("-c:v", "ffv1")}
TAGS = {"bt709": "bt709", "bt601": "smpte170m", "bt2020": "bt2020nc", "fcc": "fcc", "smpte240m": "smpte240m"}


class Files:
    """One moving picture of RGB, written in as many ways as are asked for; ffmpeg converts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rgb = self.make("rgb.mkv", "null")

    def make(self, name: str, filters: str, *options: str, size: str = "96x64") -> Path:
        path = self.folder / name
        if not path.is_file():
            source = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25", "-frames:v", "2")
            ffmpeg(*source, "-vf", f"format=gbrp,{filters}", *(options or CODERS.get(path.suffix, ())), str(path))
        return path

    def yuv(self, kind: str = "yuv444p", matrix: str = "bt709", span: str = "tv", *, tagged: bool = True, suffix="mkv"):
        tags = f",setparams=colorspace={TAGS[matrix] if tagged else 'unknown'}:range={span}"
        filters = f"scale=out_color_matrix={matrix}:out_range={span}:{EXACT},format={kind}{tags}"
        options = () if suffix != "mkv" else ("-c:v", "ffv1", "-color_range", span)
        return self.make(f"{kind}-{matrix}-{span}-{tagged}.{suffix}", filters, *options)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    return Files(tmp_path_factory.mktemp("colour"))


def psnr(reference: Path, distorted: Path) -> float:
    return score(reference, distorted, model="psnr").score


def form(reference: Path, distorted: Path) -> str:
    return str(look(Clip(reference), Clip(distorted), Pairing()).form)


def said(reference: Path, distorted: Path) -> dict[str, str]:
    return {one.what: one.hint for one in look(Clip(reference), Clip(distorted), Pairing()).differences}


# --- matrix -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrix", [*LUMA_WEIGHTS, "ycgco"])
def test_a_matrix_has_white_and_grey_where_they_belong(matrix):
    made = encoding(matrix)
    np.testing.assert_allclose(made @ [1, 1, 1], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(np.abs(made[1:]).sum(axis=1), [1, 1], atol=1e-12)  # chroma reaches from -.5 to .5


def test_another_matrix_scores_as_the_same_picture(files):
    """Without conversion these are 22.6 dB (BT.601) and 30 dB (BT.2020) apart; rounding to 8 bits twice costs 55."""
    reference = files.yuv()
    for matrix in ("bt601", "bt2020", "fcc", "smpte240m"):
        assert psnr(reference, files.yuv(matrix=matrix)) > 54
        assert "BT.709 limited" in form(reference, files.yuv(matrix=matrix))
        assert psnr(files.yuv(matrix=matrix), reference) > 54
    assert score(reference, files.yuv(matrix="bt601"), model="vmaf_v0.6.1").score > 97


def test_a_deeper_file_in_another_matrix_is_the_same_to_the_last_code(files):
    """16 bits carry the picture to BT.601 and back: nothing is left but the 8 bits of the reference."""
    reference = files.yuv()
    convert = "setparams=colorspace=bt709:range=tv,zscale=matrixin=709:matrix=170m:range=limited,format=yuv444p16le"
    first = f"scale=out_color_matrix=bt709:out_range=tv:{EXACT},format=yuv444p,format=yuv444p16le"
    assert psnr(reference, files.make("601-16.mkv", f"{first},{convert}")) == 60


def test_conversion_is_that_of_ffmpeg(files):
    """The distorted file brought to the reference's matrix by ffmpeg, by hand, scores alike."""
    reference = files.yuv(kind="yuv444p10le")
    given = files.yuv(kind="yuv444p10le", matrix="bt2020")
    by_hand = files.folder / "hand.mkv"
    convert = f"scale=in_color_matrix=bt2020:out_color_matrix=bt709:{EXACT},format=yuv444p10le"
    ffmpeg("-i", str(given), "-vf", f"{convert},setparams=colorspace=bt709", "-c:v", "ffv1", str(by_hand))
    assert psnr(reference, given) == pytest.approx(psnr(reference, by_hand), abs=1.5)
    assert psnr(reference, given) > 65


def test_chroma_mixes_at_its_own_size(files):
    """A 4:2:0 picture in another matrix: its chroma is exact, and luma errs where chroma is coarse only."""
    reference, given = files.yuv(kind="yuv420p"), files.yuv(kind="yuv420p", matrix="bt601")
    assert psnr(reference, given) > 38
    r, d = (Reformatter(matrix="bt709")(next(iter(frames(path)))) for path in (reference, given))
    assert np.abs(r.u.astype(int) - d.u).max() <= 2 and np.abs(r.v.astype(int) - d.v).max() <= 2


def frames(path: Path):
    from compressvqa.video import read_frames

    return read_frames(path)


def test_recoding_there_and_back():
    codes = np.random.default_rng(0).integers(64, 192, (3, 8, 8)).astype(np.uint8)
    picture = Planes(codes[0], codes[1], codes[2], "444", Colour(8, "bt709"))
    for wanted in (Colour(16, "bt2020"), Colour(16, "bt601", True), Colour(16, "bt709", True), Colour(12, "bt709")):
        back = recode(recode(picture, wanted), picture.colour)
        assert all(np.array_equal(getattr(back, plane), getattr(picture, plane)) for plane in "yuv")
    rgb = recode(picture, Colour(16, "bt601", True)).to_rgb()
    assert (rgb - picture.to_rgb()).abs().max() < 1e-4


# --- what is said and what is not -------------------------------------------------------------------------------


def test_a_file_that_names_no_matrix_has_that_of_the_other(files):
    tagged, silent = files.yuv(), files.yuv(tagged=False)
    assert psnr(tagged, silent) == psnr(silent, tagged) == 60
    assert "the distorted video names no matrix" in said(tagged, silent)["matrix"]
    assert "the reference names no matrix" in said(silent, tagged)["matrix"]
    assert said(silent, silent) == {} and "BT.601" in form(silent, silent)  # both silent: by height
    y4m = files.yuv(kind="yuv420p", tagged=False, suffix="y4m")
    assert psnr(y4m, files.yuv(kind="yuv420p")) == 60


def test_a_reference_that_names_no_matrix_beside_two_that_name_different_ones(files):
    """Each pair is read by itself, also by networks, which share the reference's pictures where they can."""
    reference = files.yuv(tagged=False)
    others = [files.yuv(), files.yuv(matrix="bt601")]
    for model in ("psnr", "dists_of_means"):
        together = score_several(reference, others, model=_scorer(model))
        assert [one.score for one in together] == [score(reference, d, model=_scorer(model)).score for d in others]
    assert together[0].score == 0  # the same samples by one matrix are the same colours
    assert together[1].score < -0.001


def _scorer(name: str):
    import torch

    from compressvqa.scoring.blocks import BlockScorer
    from compressvqa.scoring.scorer import Facts

    class Mean(BlockScorer):
        facts = (Facts("mean", "mean"),)

        def measure(self, prepared, distorted):
            return -(prepared - distorted).abs().mean(dim=(0, 2, 3, 4))

    assert torch.get_num_threads()
    return name if name == "psnr" else Mean()


# --- RGB, grey, range -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
def test_rgb_is_read_by_the_matrix_of_the_other(files, matrix, tagged):
    if matrix == "bt709" and not tagged:
        return  # a small video that names no matrix is BT.601
    video = files.yuv(matrix=matrix, tagged=tagged)
    picture = files.make("a.png", "select=eq(n\\,0)", "-frames:v", "1", "-update", "1")
    assert psnr(files.rgb, video) > 58  # luma of 8 bits beside luma of 16: 58.9 dB
    assert psnr(video, files.rgb) > 58
    assert score(picture, video, model="psnr", pairing=Pairing(length="trim")).score > 58
    assert ("BT.709" if matrix == "bt709" else "BT.601") in form(files.rgb, video)
    assert matrix.replace("bt", "BT.") in said(files.rgb, video)["matrix"]
    assert score(files.rgb, video, model="vmaf_v0.6.1").score > 97


LAYOUTS = {  # samples of a pixel in the order of the format; None: a plane each
    "rgb24": "rgb", "bgra": "bgra", "bgr0": "bgra", "rgb48le": "rgb", "rgba64le": "rgba", "gbrp": None, "gbrap": None,
    "gbrp10le": None, "gbrp12le": None, "gbrp16le": None, "gbrap12le": None,
}  # fmt: skip


def rgb_file(folder: Path, kind: str, bits: int) -> Path:
    """A file of one frame of 64x48 whose red, green and blue are ramps of known codes: white is ``2 ** bits - 1``."""
    top, path = 2**bits - 1, folder / f"{kind}.{'mkv' if LAYOUTS[kind] is None else 'nut'}"
    ramp = np.arange(64 * 48).reshape(48, 64) % 256
    planes = {"r": ramp, "g": ramp.T.reshape(48, 64), "b": 255 - ramp, "a": np.full((48, 64), 255)}
    codes = {name: np.rint(plane / 255 * top).astype("<u2" if bits > 8 else "u1") for name, plane in planes.items()}
    layout = LAYOUTS[kind]
    names = layout or ("gbra" if "a" in kind else "gbr")
    samples = np.stack([codes[name] for name in names], axis=-1 if layout else 0)
    (folder / "samples").write_bytes(samples.tobytes())
    ffmpeg("-f", "rawvideo", "-pixel_format", kind, "-video_size", "64x48", "-i", str(folder / "samples"),
           "-c:v", "rawvideo" if layout else "ffv1", str(path))  # fmt: skip
    return path


@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_kind_of_rgb_is_one_picture(tmp_path, kind):
    bits = next(
        (bits for name, bits in (("10", 10), ("12", 12), ("16", 16), ("48", 16), ("64", 16)) if name in kind), 8
    )
    reference, other = rgb_file(tmp_path, "gbrp", 8), rgb_file(tmp_path, kind, bits)
    facts = probe(other)
    assert facts.rgb and facts.colour.bitdepth == bits and facts.alpha == ("a" in kind)
    rounding = 0 if bits in (8, 16) else 0.5 / (2**bits - 1)  # 255 goes into 65535 a whole number of times
    r, d = read_clip(reference, frames=1), read_clip(other, frames=1)
    assert (r - d).abs().max() <= rounding + 8e-5
    assert r.reshape(3, -1)[0, :256].numpy() == pytest.approx(np.arange(256) / 255, abs=5e-5)
    assert psnr(reference, other) >= (108 if rounding == 0 else 70)
    assert ("transparency" in said(reference, other)) == ("a" in kind)


def test_range_and_grey(files):
    limited, full = files.yuv(), files.yuv(span="pc")
    assert psnr(limited, full) > 53 and psnr(full, limited) > 52  # rounded to 8 bits three times
    assert "full range" in said(full, limited)["range"] and "limited range" in said(limited, full)["range"]
    colour, filters = files.yuv(matrix="bt601"), f"scale=out_color_matrix=bt601:{EXACT},format=yuv444p16le,format="
    grey = files.make("grey.mkv", f"{filters}gray")  # ffmpeg's grey is of full range, and of BT.601
    assert psnr(colour, grey) > 53 and psnr(grey, colour) > 52
    assert psnr(colour, files.make("grey16.mkv", f"{filters}gray16le")) > 58
    assert psnr(grey, grey) == 60


@pytest.mark.parametrize(
    ("kind", "tag", "words"),
    [
        ("xyz12le", None, "CIE XYZ"),
        ("bayer_rggb8", None, "sensor"),
        ("gbrpf32le", None, "floating point"),
        ("yuv444p", "bt2020c", "constant luminance"),
        ("yuv444p", "ictcp", "ICtCp"),
    ],
)
def test_what_is_no_picture_of_codes_is_refused_by_name(files, kind, tag, words):
    name = f"{kind}-{tag}.nut" if tag is None else f"{kind}-{tag}.mkv"
    path = files.folder / name
    if kind.startswith("bayer"):
        form = ("-f", "rawvideo", "-pixel_format", kind, "-video_size", "96x64")
        ffmpeg(*form, "-i", "/dev/zero", "-frames:v", "2", "-c:v", "copy", str(path))
    else:
        tags = "" if tag is None else f",setparams=colorspace={tag}"
        files.make(name, f"format={kind}{tags}", "-c:v", "rawvideo" if tag is None else "ffv1")
    with pytest.raises(DataError, match=words) as caught:
        psnr(files.yuv(), path)
    assert name in str(caught.value)


def test_ycgco_and_packed_and_odd_chroma(files):
    reference = files.yuv()
    ycgco = files.make("ycgco.mkv", "zscale=matrix=ycgco:range=limited,format=yuv444p")
    assert psnr(reference, ycgco) > 52 and psnr(ycgco, reference) > 52
    assert psnr(files.yuv(kind="yuv420p"), files.yuv(kind="yuva420p")) == 60
    for kind in ("yuv440p", "yuv411p", "yuv410p"):
        assert psnr(reference, files.yuv(kind=kind)) == psnr(files.yuv(kind=kind), reference) == 60


def test_packed_and_semi_planar_pictures_are_sorted_without_loss():
    import av

    from compressvqa.video.pixel_formats import layout, planes_of_frame
    from compressvqa.video.reformat import planar_name, to_frame

    rng = np.random.default_rng(0)
    names = "nv12 nv21 p010le p016le yuyv422 uyvy422 y210le nv24 vuyx xv30le xv36le ayuv64le yuva420p yuva444p12le"
    for name in names.split():
        chroma, bits = layout(av.VideoFormat(name, 32, 16))
        shapes = [(16, 32), *[(16 // (2 if chroma == "420" else 1), 32 // (1 if chroma == "444" else 2))] * 2]
        kind = np.uint8 if bits == 8 else np.dtype("<u2")
        y, u, v = (rng.integers(16 << (bits - 8), 235 << (bits - 8), shape).astype(kind) for shape in shapes)
        frame = to_frame(Planes(y, u, v, chroma, Colour(bits, "bt601")))
        assert frame.format.name == planar_name(chroma, bits)
        packed = frame.reformat(format=name)
        assert packed.format.name == name
        packed.colorspace = 8 if name == "nv21" else 6  # a tag that the scaler does not know must not stop it
        found = planes_of_frame(packed, "here")
        if name != "nv21":
            assert all(np.array_equal(a, b) for a, b in ((found.y, y), (found.u, u), (found.v, v))), name
    for name in ("grayf32le", "bayer_rggb8", "xyz12le", "uyyvyy411"):
        with pytest.raises(DataError, match=rf"here: its pixel format {name} is not read"):
            planes_of_frame(av.VideoFrame(32, 16, name), "here")


def test_other_primaries_are_said(files):
    def tagged(name: str, primaries: str) -> Path:
        tags = f"setparams=colorspace=bt709:range=tv:color_primaries={primaries}"
        return files.make(name, f"scale=out_color_matrix=bt709:{EXACT},format=yuv444p,{tags}")

    narrow, wide, near = (tagged(f"{name}.mkv", name) for name in ("bt709", "bt2020", "smpte170m"))
    assert "not converted" in said(narrow, wide)["primaries"]
    assert said(narrow, near) == said(narrow, files.yuv()) == said(wide, wide) == {}


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "mjpeg"), ("a.mkv", "mjpeg"), ("a.webm", "libvpx"), ("b.avi", "libvpx")]
)
def test_a_codec_that_always_says_bt601_says_nothing(files, name, codec):
    """ffmpeg's encoders of JPEG and VP8 leave the samples as they are, and its decoders call them BT.601."""
    for matrix in ("bt709", "bt601"):
        reference, coded = files.yuv(kind="yuv420p", matrix=matrix), files.folder / f"{matrix}-{codec}-{name}"
        ffmpeg("-i", str(reference), "-c:v", codec, "-q:v", "1", "-b:v", "9M", str(coded))
        assert psnr(reference, coded) > 40 and psnr(coded, reference) > 38
        assert psnr(files.rgb, coded) > (38 if matrix == "bt601" or name[-3:] in ("mkv", "ebm") else 15)
        (first,) = {planes.colour.matrix for planes in frames(coded)}
        assert first == probe(coded).colour.matrix


def test_pictures_are_believed_more_than_their_container(files):
    """The container says BT.709, the stream BT.601, and that is what it was converted to."""
    right, wrong = files.yuv(kind="yuv420p", matrix="bt601"), files.folder / "wrong.mov"
    tags = (
        "-vf",
        "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709",
        "-x264-params",
        "colormatrix=smpte170m",
    )
    ffmpeg("-i", str(right), *tags, "-c:v", "libx264", "-qp", "0", str(wrong))
    for count in (False, True):
        facts = probe(wrong, count=count)
        assert facts.colour.matrix == "bt601" and facts.matrix_stated
        assert facts.notes == ("its container says BT.709 and its pictures BT.601: these are believed",)
    assert psnr(right, wrong) == 60


def test_what_was_done_stands_in_the_log(files):
    log = score(files.rgb, files.yuv(tagged=False), model="psnr").to_dict()
    assert (log["reference"]["matrix"], log["distorted"]["matrix"]) == ("rgb", "bt601")
    assert (log["reference"]["matrix_stated"], log["distorted"]["matrix_stated"]) == (True, False)
    assert log["settings"]["compared as"] == "96x64 4:4:4 16 bit BT.601 limited range"
    (found,) = log["differences"]
    assert found["what"] == "matrix" and "names no matrix and is read by BT.601" in found["note"]
