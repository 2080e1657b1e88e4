"""Settings of the data set ``rank-pairs`` that are groups of their own: rungs, headerless files, the virtual camera."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compressvqa.data.filming import Camera
from compressvqa.data.ladder import Rung
from compressvqa.errors import DataError
from compressvqa.video.raw import RawFormat

Codecs = Literal["x264", "x265", "svt-av1", "vp9", "vvc"]


class FirstChoice(BaseModel):
    """One rung of one codec."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: Codecs = Field(description="the encoder")
    crf: int = Field(description="constant quality; larger is worse (vvc: QP)")
    scale: float = Field(default=1.0, description="coded share of width and height, scaled back up")
    depth: Literal[8, 10] | None = Field(default=None, description="bit depth that is coded; null: the source's")

    def rung(self) -> Rung:
        """The same as the ladder wants it."""
        return Rung(self.codec, self.crf, self.scale, self.depth)


class LadderChoice(BaseModel):
    """Some rungs of one codec: every quality at every scale."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: Codecs = Field(description="the encoder")
    crf: list[int] = Field(min_length=1, description="constant qualities; larger is worse (vvc: QP)")
    scales: list[float] = Field(
        default=[1.0], min_length=1, description="coded share of width and height, scaled back up"
    )
    depth: Literal[8, 10] | None = Field(
        default=None, description="bit depth that is coded; null: that of the source, if the encoder takes it"
    )
    first: FirstChoice | None = Field(
        default=None, description="a first generation: patches are coded so before, and coded again"
    )

    @model_validator(mode="after")
    def _possible(self) -> LadderChoice:
        try:
            self.rungs()
        except DataError as error:
            raise ValueError(str(error)) from error
        return self

    def rungs(self) -> list[Rung]:
        """One rung for each quality and scale."""
        first = None if self.first is None else self.first.rung()
        return [Rung(self.codec, quality, scale, self.depth, first) for scale in self.scales for quality in self.crf]


class RawChoice(BaseModel):
    """What headerless .yuv files hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(gt=0, description="luma samples in a row")
    height: int = Field(gt=0, description="luma rows")
    pixel_format: Literal["420", "422", "444"] = Field(default="420", description="chroma subsampling")
    bitdepth: Literal[8, 10, 12, 16] = Field(
        default=8, description="bits of a sample; above 8 in two bytes, low byte first"
    )

    def format(self) -> RawFormat:
        """The same as the reader wants it."""
        return RawFormat(self.width, self.height, self.pixel_format, self.bitdepth)


class CameraChoice(BaseModel):
    """What happens in takes of photographs, beside the camera's own move: shares of the takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: float = Field(default=0.0, ge=0, le=1, description="takes with the sensor's noise")
    motion_blur: float = Field(default=0.0, ge=0, le=1, description="takes with a shutter that is open for long")
    focus: float = Field(default=0.0, ge=0, le=1, description="takes out of focus, or whose focus changes")
    exposure: float = Field(default=0.0, ge=0, le=1, description="dark takes, or whose exposure changes")
    objects: float = Field(default=0.0, ge=0, le=1, description="takes in which things move by themselves")
    cuts: float = Field(default=0.0, ge=0, le=1, description="takes with a cut")
    text: float = Field(default=0.0, ge=0, le=1, description="takes with captions or a line that scrolls")
    ten_bit: float = Field(default=0.0, ge=0, le=1, description="photographs whose takes have 10 bit")

    def camera(self) -> Camera:
        """The same as the virtual camera wants it."""
        return Camera(**self.model_dump())


# Ten rungs that spread VMAF over about 20 to 99: every codec, and three rungs with a change of resolution.
DEFAULT_LADDER = [
    LadderChoice(codec="x264", crf=[22, 32, 41]),
    LadderChoice(codec="x264", crf=[36], scales=[0.5]),
    LadderChoice(codec="x265", crf=[30, 40]),
    LadderChoice(codec="svt-av1", crf=[58]),
    LadderChoice(codec="svt-av1", crf=[48], scales=[0.5]),
    LadderChoice(codec="vp9", crf=[54]),
    LadderChoice(codec="vvc", crf=[44], scales=[0.5]),
]
