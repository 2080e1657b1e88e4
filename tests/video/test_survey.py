"""Which frames a file holds: what decodes without an error, whatever its container promises."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest
from clips import ffmpeg, make, raw_bytes

from compressvqa.errors import DataError
from compressvqa.scoring import score
from compressvqa.video import Pairing, matroska, probe, read_frames
from compressvqa.video.survey import survey

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-threads", "1", "-pix_fmt", "yuv420p")
OPEN_GOP = ("-x264-params", "open-gop=1:keyint=25:bframes=3:scenecut=0", "-preset", "veryfast")
FRAME = 128 * 96 * 3 // 2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """75 frames of three groups of pictures, as they are."""
    folder = tmp_path_factory.mktemp("survey")
    make(folder / "base.mp4", *X264, "-g", "25", "-movflags", "+faststart", frames=75)
    make(folder / "open.mkv", *X264, *OPEN_GOP, frames=75)
    make(folder / "vp9.webm", "-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime", "-g", "25", frames=75)
    x265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "open-gop=1:keyint=25:scenecut=0:log-level=none")
    make(folder / "hevc.mp4", *x265, "-pix_fmt", "yuv420p", "-movflags", "+faststart", frames=75)
    make(folder / "av1.mp4", "-c:v", "libsvtav1", "-preset", "12", "-movflags", "+faststart", frames=20)
    return folder


def copy(source: Path, name: str, *options: str, before: tuple[str, ...] = ()) -> Path:
    path = source.parent / name
    ffmpeg(*before, "-i", str(source), "-c", "copy", *options, str(path))
    return path


def check(path: Path) -> int:
    """Counts and samples are ffmpeg's; returns the count."""
    wanted = raw_bytes(path, "yuv420p")
    found = probe(path, count=True)
    assert found.damage is None
    assert (found.frames or 0) * FRAME == len(wanted)
    assert b"".join(frame.to_bytes() for frame in read_frames(path)) == wanted
    return found.frames or 0


@pytest.mark.parametrize("suffix", ["mkv", "webm", "ts", "mp4"])
def test_segments_that_start_late_are_whole(place, suffix):
    source = place / ("vp9.webm" if suffix == "webm" else "base.mp4")
    copy(source, f"piece%d.{suffix}", "-f", "segment", "-segment_time", "1")
    for number in range(3):
        path = place / f"piece{number}.{suffix}"
        assert check(path) == 25 and probe(path, count=True).notes == ()


def test_dash_pieces_are_whole(place):
    copy(place / "base.mp4", "dash.mpd", "-f", "dash", "-seg_duration", "1")
    init = (place / "init-stream0.m4s").read_bytes()
    late = place / "late.mp4"
    late.write_bytes(init + (place / "chunk-stream0-00003.m4s").read_bytes())
    assert check(late) == 25
    holes = place / "holes.mp4"
    holes.write_bytes(init + b"".join((place / f"chunk-stream0-0000{n}.m4s").read_bytes() for n in (1, 3)))
    assert check(holes) == 50
    found = probe(holes, count=True)
    assert found.variable_rate is True and found.frame_rate == 25


@pytest.mark.parametrize(("suffix", "shown"), [("mp4", 35), ("mov", 35), ("mkv", 48)])
def test_a_cut_without_encoding_shows_what_a_player_shows(place, suffix, shown):
    path = copy(place / "base.mp4", f"cut.{suffix}", before=("-ss", "1.6"))
    assert check(path) in (shown, 50 if suffix == "mkv" else shown)
    hidden = [note for note in probe(path, count=True).notes if "edit list hides 15 frames" in note]
    assert bool(hidden) == (suffix != "mkv")


@pytest.mark.parametrize(("source", "suffix"), [("open.mkv", "mkv"), ("open.mkv", "mp4"), ("hevc.mp4", "ts")])
def test_open_groups_of_pictures_may_be_cut(place, source, suffix):
    path = copy(place / source, f"{source[:4]}-cut.{suffix}", before=("-ss", "1.5"))
    assert 30 < check(path) < 55


def test_packets_that_give_no_frame_are_not_counted(place):
    path = copy(place / "open.mkv", "open-cut.mkv", before=("-ss", "1.5"))
    packets = ffmpeg("-i", str(path), "-c", "copy", "-f", "framecrc", "-").decode().splitlines()
    packets = [line for line in packets if not line.startswith("#")]
    assert check(path) < len(packets)


def test_a_duration_in_a_header_is_a_note(place):
    content = bytearray(copy(place / "base.mp4", "sixty.mkv").read_bytes())
    at = content.index(b"\x44\x89\x88") + 3  # Duration, eight bytes, milliseconds
    assert struct.unpack(">d", content[at : at + 8]) == (3000.0,)
    content[at : at + 8] = struct.pack(">d", 60000.0)
    (place / "sixty.mkv").write_bytes(content)
    assert check(place / "sixty.mkv") == 75
    assert probe(place / "sixty.mkv", count=True).notes == ("the header says 60.0 seconds; 3.0 are there and decode",)
    assert score(place / "base.mp4", place / "sixty.mkv", model="psnr").score == 60


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_empty_frames_of_avi_are_no_frames(tmp_path, codec):
    path = make(
        tmp_path / "empty.avi", "-vf", "select='not(mod(n,2))'", "-c:v", codec, "-pix_fmt", "yuv420p", frames=20
    )
    assert check(path) == 20
    found = probe(path, count=True)
    assert found.frame_rate == 12.5 and found.variable_rate is False
    assert found.notes == ("the header says 39 frames; 20 are there and decode",)


def test_a_joined_transport_stream_is_whole(place):
    pieces = [copy(place / "base.mp4", f"join{n}.ts", "-t", "1", before=("-ss", str(n))) for n in (0, 2)]
    joined = place / "joined.ts"
    joined.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    assert check(joined) >= 50
    (note,) = probe(joined, count=True).notes
    assert note.startswith("the transport stream lacks packets, or was joined, at frame 2")


def test_a_recording_may_begin_between_key_frames(place):
    recorded = make(place / "recorded.ts", *X264, *OPEN_GOP, "-bsf:v", "dump_extra=freq=keyframe", frames=75)
    path = place / "tuned-in.ts"
    path.write_bytes(recorded.read_bytes()[recorded.stat().st_size // 188 // 6 * 188 :])
    assert check(path) == 50


@pytest.mark.parametrize("suffix", ["mkv", "webm"])
def test_live_matroska_of_unknown_size_is_whole(place, suffix):
    source = place / ("vp9.webm" if suffix == "webm" else "base.mp4")
    path = place / f"live.{suffix}"
    muxer = "webm" if suffix == "webm" else "matroska"
    path.write_bytes(ffmpeg("-i", str(source), "-c", "copy", "-f", muxer, "-live", "1", "-"))
    assert check(path) == 75 and matroska.first_fault(path) is None
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"is cut off at frame 7\d: the file ends inside an element"):
        probe(path, count=True)


def test_sound_longer_than_the_picture_and_late_pictures(place):
    sound = ("-f", "lavfi", "-i", "sine=duration=6")
    for suffix in ("mp4", "mkv", "ts", "flv", "avi"):
        path = place / f"sound.{suffix}"
        ffmpeg("-i", str(place / "base.mp4"), *sound, "-c:v", "copy", "-c:a", "aac", str(path))
        assert check(path) == 75
    ffmpeg("-itsoffset", "1", "-i", str(place / "base.mp4"), *sound, "-c:v", "copy", str(place / "gap.mp4"))
    assert check(place / "gap.mp4") == 75 and probe(place / "gap.mp4", count=True).notes == ()


# --- damage -------------------------------------------------------------------------------------------------------


def cut(path: Path, name: str, share: float = 0.5) -> Path:
    content = path.read_bytes()
    (path.parent / name).write_bytes(content[: int(share * len(content))])
    return path.parent / name


def broken(path: Path, name: str, share: float = 0.5) -> Path:
    """A hole of 200 bytes: bytes that are merely wrong may well decode, without anybody's noticing."""
    content = path.read_bytes()
    at = int(share * len(content))
    (path.parent / name).write_bytes(content[:at] + content[at + 200 :])
    return path.parent / name


def packets_before(path: Path, byte: int) -> int:
    """Frames whose packets end before a byte, as ffmpeg's demuxer places them in the whole file."""
    import av

    with av.open(str(path)) as container:
        return sum(1 for p in container.demux(video=0) if p.size and p.pos is not None and p.pos + p.size <= byte)


@pytest.mark.parametrize("spoil", [cut, broken])
@pytest.mark.parametrize("name", ["base.mp4", "open.mkv", "hevc.mp4", "av1.mp4", "vp9.webm", "base.flv"])
def test_damage_is_said_with_its_frame(place, name, spoil):
    source = copy(place / "base.mp4", name) if name == "base.flv" else place / name
    path = spoil(source, f"{spoil.__name__}-{name}")
    near = packets_before(source, source.stat().st_size // 2)
    found = probe(path, count=True, whole=False)
    assert found.damage is not None and found.frames == found.damage.frame
    # In order of display; what is read is in order of decoding, a few frames apart.
    assert abs(found.damage.frame - near) <= 4
    with pytest.raises(DataError, match=rf"{name}.*(cut off|damaged).*--frames {found.frames} compares the") as error:
        list(read_frames(path))
    assert f"frame {found.frames}" in str(error.value)


def test_what_comes_before_the_damage_can_be_compared(place):
    path = broken(place / "base.mp4", "broken.mp4")
    whole = survey(path).frames
    with pytest.raises(DataError, match=rf"broken\.mp4: frame {whole} is damaged.*{whole} before it, which are whole"):
        score(place / "base.mp4", path, model="psnr")
    assert score(place / "base.mp4", path, model="psnr", pairing=Pairing(frames=whole)).score == 60
    with pytest.raises(DataError, match=rf"frame {whole} is damaged"):
        score(place / "base.mp4", path, model="psnr", pairing=Pairing(frames=whole + 1))
    before = [frame.to_bytes() for frame in read_frames(path, stop=whole)]
    assert b"".join(before) == raw_bytes(place / "base.mp4", "yuv420p")[: whole * FRAME]


def test_errors_that_a_decoder_patches_over_are_said(place):
    path = broken(copy(place / "hevc.mp4", "hevc.ts"), "broken.ts")
    found = probe(path, count=True)
    assert any("has an error that the decoder patches over" in note for note in found.notes)
    assert (found.frames or 0) * FRAME == len(raw_bytes(path, "yuv420p"))


def complains(path: Path) -> bool:
    """Whether ffmpeg, called by hand, reports an error of any level that it calls one."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-f", "null", "-"]
    return bool(subprocess.run(command, capture_output=True, check=False).stderr.strip())


def test_a_transport_stream_without_its_end(place):
    whole = copy(place / "hevc.mp4", "whole.ts")
    shares = [share / 100 for share in range(51, 100, 3)]
    told = [share for share in shares if complains(cut(whole, "cut.ts", share))]
    assert told, "no cut of these is one that the decoder sees"
    with pytest.raises(DataError, match=r"is cut off at frame \d+: its last packet is not whole"):
        probe(cut(whole, "cut.ts", told[0]), count=True)
    silent = next(share for share in shares if share not in told)
    found = probe(cut(whole, "cut.ts", silent), count=True)
    assert found.notes == ("it ends inside a transport packet: its last frame may not be whole",)


def test_matroska_elements_are_walked_to_the_end(place):
    path = place / "open.mkv"
    assert matroska.first_fault(path) is None and matroska.first_fault(place / "base.mp4") is None
    content = path.read_bytes()
    for length in (len(content) - 1, len(content) - 5, len(content) // 2, 600):
        (place / "short.mkv").write_bytes(content[:length])
        fault = matroska.first_fault(place / "short.mkv")
        assert fault is not None and fault.cut and fault.byte <= length


def test_an_mp4_without_its_index_says_so(place, tmp_path):
    path = copy(place / "base.mp4", "late-index.mp4")
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(
        DataError, match=r"cut\.mp4: is not a video that can be read \(its index, the moov box, is missing"
    ):
        probe(tmp_path / "cut.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / "sound.wav"))
    with pytest.raises(DataError, match=r"sound\.wav: is not a video that can be read \(of no format that is read\)"):
        probe(tmp_path / "sound.wav")
