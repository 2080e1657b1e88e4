"""What is done to one file's pictures before they are compared: fields made whole, turned, cut."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av.filter
import numpy as np

from compressvqa.video.box import Box
from compressvqa.video.frames import SUBSAMPLING, Planes, Samples
from compressvqa.video.info import VideoInfo
from compressvqa.video.posture import Posture, Scan, turn
from compressvqa.video.reformat import Reformatter, planar_name, planes_of, to_frame

MARGIN = 8  # lines


@dataclass(frozen=True)
class Treatment:
    """What is done to the pictures of one file, in this order.

    Args:
        fields: which field was first, where two fields of each picture are made a whole one; "progressive": nothing.
        posture: how they are turned; None: not at all.
        size: (height, width) to which the turned picture is scaled before something is cut out of it; None: as it is.
        box: what is cut out; None: nothing.
    """

    fields: Scan = "progressive"
    posture: Posture | None = None
    size: tuple[int, int] | None = None
    box: Box | None = None

    def info(self, info: VideoInfo) -> VideoInfo:
        """The facts of the treated pictures."""
        if self.fields != "progressive":
            info = replace(info, scan="progressive")
        if self.posture is not None:
            width, height, aspect, chroma = info.width, info.height, info.pixel_aspect, info.chroma
            if self.posture.lies:
                width, height, aspect, chroma = height, width, 1 / aspect, "444" if chroma == "422" else chroma
            info = replace(info, width=width, height=height, pixel_aspect=aspect, chroma=chroma, rotation=0,
                           mirrored=False)  # fmt: skip
        if self.size is not None:
            aspect = info.pixel_aspect * Fraction(info.width * self.size[0], info.height * self.size[1])
            info = replace(info, height=self.size[0], width=self.size[1], pixel_aspect=aspect)
        if self.box is not None:
            info = replace(info, width=self.box.width, height=self.box.height)
        return info

    def frames(self, frames: Iterator[Planes], frame_rate: Fraction | None = None) -> Iterator[Planes]:
        """The treated pictures."""
        if self.fields != "progressive":
            frames = deinterlaced(frames, self.fields, frame_rate)
        if self.posture is not None:
            posture = self.posture
            if posture.lies:
                frames = map(_spread, frames)
            frames = (turn(planes, posture) for planes in frames)
        if self.size is not None:
            frames = map(Reformatter(self.size), frames)
        if self.box is not None:
            box = self.box
            frames = (cut(planes, box) for planes in frames)
        return frames


AS_STORED = Treatment()


def _spread(planes: Planes) -> Planes:
    return Reformatter(chroma="444")(planes) if planes.chroma == "422" else planes


def cut(planes: Planes, box: Box) -> Planes:
    """A part of a picture; one that does not begin on a chroma sample is spread to 4:4:4 for it."""
    vertical, horizontal = SUBSAMPLING.get(planes.chroma, (1, 1))
    if planes.chroma == "400" or (box.top % vertical == 0 and box.left % horizontal == 0):
        return planes.crop(box.top, box.left, box.height, box.width)
    back = Reformatter(chroma=planes.chroma)
    return back(Reformatter(chroma="444")(planes).crop(box.top, box.left, box.height, box.width))


def deinterlaced(frames: Iterator[Planes], first: Scan, frame_rate: Fraction | None = None) -> Iterator[Planes]:
    """Whole pictures out of two fields each, one a frame, by ffmpeg's filter bwdif.

    Args:
        frames: pictures of two fields.
        first: "tff" or "bff", which field was first.
        frame_rate: frames a second; any will do.
    """
    rate = frame_rate or Fraction(25)
    begin = list(itertools.islice(frames, 2))
    if not begin:
        return
    # Of the very first picture bwdif reads lines above its top, whatever memory holds there: it gets some.
    (one,) = itertools.islice(_woven(map(_padded, begin), first, rate), 1)
    yield one.crop(MARGIN, 0, *begin[0].size)
    yield from itertools.islice(_woven(itertools.chain(begin, frames), first, rate), 1, None)


def _padded(planes: Planes) -> Planes:
    """A picture with lines of its own above and below, those of each field in their places."""

    def one(plane: Samples, lines: int) -> Samples:
        return np.pad(plane, ((lines, lines), (0, 0)), mode="reflect" if len(plane) > lines else "edge")

    rows = MARGIN // SUBSAMPLING.get(planes.chroma, (1, 1))[0]
    u, v = (None if plane is None else one(plane, rows) for plane in (planes.u, planes.v))
    return Planes(one(planes.y, MARGIN), u, v, planes.chroma, planes.colour)


def _woven(frames: Iterator[Planes], first: Scan, rate: Fraction) -> Iterator[Planes]:
    like = next(frames)
    graph = _bwdif(like, first, rate)
    for number, planes in enumerate(itertools.chain([like], frames)):
        frame = to_frame(planes)
        frame.pts = number
        graph.push(frame)
        yield from _pulled(graph, like)
    graph.push(None)
    yield from _pulled(graph, like)


def _bwdif(planes: Planes, first: Scan, rate: Fraction) -> Any:
    height, width = planes.size
    graph = av.filter.Graph()
    name = planar_name(planes.chroma, planes.colour.bitdepth)
    source = graph.add("buffer", f"video_size={width}x{height}:pix_fmt={name}:time_base={1 / rate}:pixel_aspect=1/1")
    whole = graph.add("bwdif", f"mode=send_frame:parity={first}:deint=all")
    sink = graph.add("buffersink")
    source.link_to(whole)
    whole.link_to(sink)
    graph.configure()
    return graph


def _pulled(graph: Any, like: Planes) -> Iterator[Planes]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield planes_of(frame, like.chroma, like.colour)
