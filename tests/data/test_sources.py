from __future__ import annotations

import numpy as np
import pytest
from clips import ffmpeg, make, raw_bytes

from compressvqa.data import sources
from compressvqa.data.sources import Cutting, FileSource, PhotographSource, is_cut, spatial_activity, to_420
from compressvqa.errors import DataError
from compressvqa.video import RawFormat, write_y4m
from compressvqa.video.folders import list_videos, split_contents
from compressvqa.video.frames import Colour, Planes, split_planes


def luma_of(samples: np.ndarray, size: int) -> np.ndarray:
    return samples[:, : size * size].reshape(-1, size, size)


def frame(luma: np.ndarray) -> Planes:
    return Planes(luma.astype(np.uint8), None, None, "400", Colour())


def test_patches_are_parts_of_the_file(tmp_path):
    path = make(tmp_path / "clip.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="160x128", frames=40)
    whole = np.frombuffer(raw_bytes(path, "yuv420p"), np.uint8).reshape(40, -1)[:, : 160 * 128].reshape(40, 128, 160)
    found = FileSource("clip.mkv", path).cut(Cutting(patches=3, frames=5, size=96))
    assert len(found) == 3
    for patch in found:
        assert patch.samples.shape == (5, 96 * 96 * 3 // 2) and patch.samples.dtype == np.uint8
        box = np.s_[patch.start : patch.start + 5, patch.top : patch.top + 96, patch.left : patch.left + 96]
        assert np.array_equal(luma_of(patch.samples, 96), whole[box])
    assert len({patch.start for patch in found}) == 3
    assert [patch.start // 12 for patch in found] == [0, 1, 2]  # spread over the file


def test_places_depend_on_the_content_name_and_the_seed(tmp_path):
    path = make(tmp_path / "clip.mkv", "-c:v", "ffv1", size="320x240", frames=40)
    cutting = Cutting(patches=2, frames=5, size=96)

    def places(content, **changes):
        made = FileSource(content, path).cut(Cutting(**(cutting.__dict__ | changes)))
        return [(patch.start, patch.top, patch.left) for patch in made]

    assert places("a") == places("a") != places("b")
    assert places("a") != places("a", seed=1)


def test_deeper_video_stays_10_bit(tmp_path):
    path = make(tmp_path / "clip.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv422p12le", size="128x96", frames=6)
    (patch,) = FileSource("clip", path).cut(Cutting(patches=1, frames=4, size=96))
    assert patch.samples.dtype == np.uint16 and patch.colour.bitdepth == 10
    theirs = np.frombuffer(raw_bytes(path, "yuv420p10le"), "<u2").reshape(6, -1)[:, : 128 * 96].reshape(6, 96, 128)
    ours = luma_of(patch.samples, 96)
    box = theirs[patch.start : patch.start + 4, :, patch.left : patch.left + 96]
    assert np.abs(ours.astype(int) - box).max() <= 1


def test_downscaling_is_the_mean_over_squares(tmp_path):
    path = make(tmp_path / "clip.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv420p", size="256x192", frames=4)
    (patch,) = FileSource("clip", path).cut(Cutting(patches=1, frames=4, size=96, downscale=2))
    whole = np.frombuffer(raw_bytes(path, "yuv420p"), np.uint8).reshape(4, -1)[:, : 256 * 192]
    small = whole.reshape(4, 96, 2, 128, 2).mean(axis=(2, 4))
    box = small[:, patch.top : patch.top + 96, patch.left : patch.left + 96]
    assert np.abs(luma_of(patch.samples, 96) - box).max() <= 0.5
    assert patch.downscale == 2


@pytest.mark.parametrize(("size", "factor"), [("160x128", 1), ("256x240", 2), ("512x500", 4), ("960x370", 3)])
def test_auto_downscales_as_far_as_a_patch_has_room(tmp_path, size, factor):
    path = make(tmp_path / "clip.mkv", *("-c:v", "libx264", "-preset", "ultrafast"), size=size, frames=4)
    (patch,) = FileSource("clip", path).cut(Cutting(patches=1, frames=4, size=96, downscale="auto"))
    assert patch.downscale == factor


@pytest.mark.parametrize("chroma", ["400", "420", "422", "444"])
@pytest.mark.parametrize("colour", [Colour(8), Colour(8, full_range=True), Colour(10, full_range=True), Colour(16)])
def test_every_format_becomes_limited_420_of_the_same_picture(chroma, colour):
    flat = np.full((1, 3 * 16 * 16), 0.45 * 2**colour.bitdepth).astype(np.uint8 if colour.bitdepth == 8 else np.uint16)
    planes = split_planes(flat[0], 16, 16, chroma, colour)
    ours = to_420(planes, 2)
    assert ours.size == (8, 8) and ours.chroma == "420" and not ours.colour.full_range
    assert ours.colour.bitdepth == (8 if colour.bitdepth == 8 else 10)
    error = (ours.to_rgb()[:, :8, :8] - planes.to_rgb()[:, ::2, ::2]).abs().max()
    assert error < 1.5 / 255


def test_a_scene_cut_is_seen_and_motion_is_not():
    rng = np.random.default_rng(0)
    scene, other = (rng.integers(16, 236, (64, 200)) for _ in range(2))
    moving = [frame(scene[:, 4 * t : 4 * t + 128]) for t in range(8)]
    assert not is_cut(moving)
    smooth = [frame(np.full((64, 64), 60 + t)) for t in range(8)]
    assert not is_cut(smooth)
    assert is_cut(smooth[:4] + [frame(other[:, :64])] * 4)
    assert not is_cut(smooth[:2])


def test_patches_avoid_cuts_and_flat_places(tmp_path):
    rng = np.random.default_rng(1)
    texture = np.kron(rng.integers(16, 236, (10, 10)), np.ones((16, 16))).astype(np.uint8)
    frames = []
    for number in range(60):
        luma = np.full((128, 256), 128, np.uint8)  # flat but for the right side, and cut at frame 30
        shown = texture if number < 30 else 255 - texture
        luma[:, 128:] = shown[number % 30 : number % 30 + 128, :128]
        frames.append(
            Planes(luma, np.full((64, 128), 128, np.uint8), np.full((64, 128), 128, np.uint8), "420", Colour())
        )
    write_y4m(tmp_path / "clip.y4m", frames)
    found = FileSource("clip", tmp_path / "clip.y4m").cut(Cutting(patches=4, frames=8, size=96))
    assert len(found) >= 3
    for patch in found:
        assert not patch.start <= 29 <= patch.start + 6
        assert spatial_activity(luma_of(patch.samples, 96)[4], 8) >= sources.FLAT


def test_photographs_give_one_take_a_patch():
    made = PhotographSource("coffee.png").cut(Cutting(patches=2, frames=2, size=96))
    assert [patch.start for patch in made] == [0, 1]
    assert not np.array_equal(made[0].samples, made[1].samples)
    other = PhotographSource("coffee.png").cut(Cutting(patches=1, frames=2, size=96, seed=1))
    assert not np.array_equal(made[0].samples, other[0].samples)


@pytest.mark.parametrize(
    ("options", "cutting", "message"),
    [
        ({"size": "128x90"}, {}, "frame of 128x90 is smaller than a patch of 96x96"),
        ({"size": "160x120"}, {"downscale": 2}, "160x120 downscaled by 2 is smaller"),
        ({"frames": 3}, {}, "3 frames are fewer than the 4 of a patch"),
        ({"source": "color=c=gray"}, {}, "flat or holds a scene cut"),
    ],
)
def test_sources_that_give_no_patch_say_why(tmp_path, options, cutting, message):
    source = options.pop("source", "testsrc2")
    joined = source + ":" if "=" in source else source + "="
    path, size, frames = tmp_path / "clip.mkv", options.get("size", "128x96"), options.get("frames", 8)
    ffmpeg("-f", "lavfi", "-i", f"{joined}size={size}:rate=25", "-frames:v", str(frames), "-c:v", "ffv1", str(path))
    with pytest.raises(DataError, match=message):
        FileSource("clip", path).cut(Cutting(**({"patches": 1, "frames": 4, "size": 96} | cutting)))


def test_hdr_is_refused(tmp_path):
    hdr = "format=yuv420p10le,setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
    path = make(tmp_path / "hdr.mp4", "-vf", hdr, "-c:v", "libx264", "-preset", "ultrafast")
    with pytest.raises(DataError, match=r"HDR video \(PQ\)"):
        FileSource("hdr", path).cut(Cutting(patches=1, frames=4, size=96))


def test_headerless_files_are_cut_too(tmp_path):
    path = make(tmp_path / "clip.yuv", "-f", "rawvideo", "-pix_fmt", "yuv420p", size="128x96", frames=8)
    source = FileSource("clip.yuv", path, RawFormat(128, 96))
    assert len(source.cut(Cutting(patches=1, frames=4, size=96))) == 1
    assert source.identity != FileSource("clip.yuv", path, RawFormat(96, 128)).identity


def test_folders_are_listed_sorted_and_named(tmp_path):
    for name in ("b.mp4", "sub/a.MKV", "notes.txt", ".hidden.mp4", "a.yuv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [content for content, _ in list_videos(tmp_path)] == ["a.yuv", "b.mp4", "sub/a.MKV"]
    assert list_videos(tmp_path / "b.mp4") == [("b.mp4", tmp_path / "b.mp4")]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no video \(try: files ending in"):
        list_videos(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no such folder"):
        list_videos(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_splits_are_stable_and_never_empty(share):
    names = [f"clip{number}" for number in range(20)]
    train, validation = split_contents(names, share, seed=0)
    assert sorted(train + validation) == sorted(names) and train and validation
    assert (train, validation) == split_contents(names[::-1], share, seed=0)
    assert (train, validation) != split_contents(names, share, seed=1)


def test_one_content_cannot_be_split():
    with pytest.raises(DataError, match=r"1 content can't be split"):
        split_contents(["a", "a"], 0.5, seed=0)
