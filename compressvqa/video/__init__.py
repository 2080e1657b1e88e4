"""Video files in, planes of frames out: decoding, looking at two files, bringing them in step, ffmpeg."""

from compressvqa.video.clip import Clip, Pairing
from compressvqa.video.compare import Sight, inspect_pair, look, refuse
from compressvqa.video.difference import Difference
from compressvqa.video.frames import Colour, Planes, yuv_to_rgb
from compressvqa.video.info import VideoInfo
from compressvqa.video.raw import RawFormat, write_y4m
from compressvqa.video.read import probe, read_clip, read_frames

__all__ = [
    "Clip",
    "Colour",
    "Difference",
    "Pairing",
    "Planes",
    "RawFormat",
    "Sight",
    "VideoInfo",
    "inspect_pair",
    "look",
    "probe",
    "read_clip",
    "read_frames",
    "refuse",
    "write_y4m",
    "yuv_to_rgb",
]
