"""The networks: one file each, made by `create_model`, kept by `save` and brought back by `load`."""

from compressvqa.models.c3dvqa import C3DVQA
from compressvqa.models.create import create_model
from compressvqa.models.deepqa import DeepQA
from compressvqa.models.deepvqa import DeepVQA
from compressvqa.models.factory import ModelSpec, also_of, example_inputs, list_models, spec_of
from compressvqa.models.feature_distance import FeatureDistance
from compressvqa.models.image_backbone import ImageBackbone
from compressvqa.models.internvideo2 import InternVideo2
from compressvqa.models.per_frame import PerFrame, WholeClip
from compressvqa.models.rankdvqa import RankDVQA
from compressvqa.models.rankdvqa_stanet import RankDVQASTANet
from compressvqa.models.stanet import STANet
from compressvqa.models.storage import load, save
from compressvqa.models.video_backbone import VideoBackbone
from compressvqa.models.wadiqam import WaDIQaM

__all__ = [
    "C3DVQA",
    "DeepQA",
    "DeepVQA",
    "FeatureDistance",
    "ImageBackbone",
    "InternVideo2",
    "ModelSpec",
    "PerFrame",
    "RankDVQA",
    "RankDVQASTANet",
    "STANet",
    "VideoBackbone",
    "WaDIQaM",
    "WholeClip",
    "also_of",
    "create_model",
    "example_inputs",
    "list_models",
    "load",
    "save",
    "spec_of",
]
