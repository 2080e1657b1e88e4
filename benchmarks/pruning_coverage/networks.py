"""The networks of the coverage benchmark: names for `create_model`, settings, and small inputs that they take."""

from __future__ import annotations

import fnmatch
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path
from typing import Any

from compressvqa.registry import models
from pruning_coverage import patterns
from pruning_coverage.case import Case, CorpusCase
from pruning_coverage.patterns.base import NETWORKS
from pruning_coverage.siamese import siamese

TESTS = Path(__file__).parents[2] / "tests"


# Convolutional networks of timm at 64 px, with the few that need more.
_TIMM = {
    64: """resnet18 resnet50 resnext50_32x4d seresnext26d_32x4d wide_resnet50_2 resnest14d res2net50_14w_8s skresnet18
        ecaresnet26t regnetx_002 regnety_002 regnetz_b16 densenet121 efficientnet_b0 tf_efficientnetv2_b0 mixnet_s
        mobilenetv2_100 mobilenetv3_small_100 mobilenetv4_conv_small mobilenetv4_hybrid_medium mnasnet_100 fbnetc_100
        ghostnet_100 repghostnet_050 lcnet_050 tinynet_e rexnet_100 hardcorenas_a
        convnext_atto convnextv2_atto inception_next_atto mambaout_femto rdnet_tiny starnet_s1 convmixer_768_32
        repvgg_a0 repvit_m0_9 mobileone_s0 hgnetv2_b0 ese_vovnet19b_dw dla34 dpn68 hrnet_w18_small cspresnet50 darknet53
        vgg11_bn nf_resnet26 nfnet_l0 gernet_s selecsls42b xception41 poolformer_s12 convformer_s18
        efficientvit_b0 pvt_v2_b0 caformer_s18 fastvit_t8 fastvit_sa12 edgenext_xx_small mobilevit_xxs
        mobilevitv2_050 xcit_nano_12_p16_224 coat_lite_tiny shvit_s1 focalnet_tiny_srf davit_tiny""",
    96: "inception_v3 inception_v4",
}
# Networks built for one size of image: the settings make it small.
_TIMM_SIZED = {
    "vit_tiny_patch16_224": 64,
    "vit_base_patch16_siglip_224": 64,
    "vit_relpos_small_patch16_224": 64,
    "vit_small_patch14_dinov2": 56,
    "eva02_tiny_patch14_224": 56,
    "deit_tiny_patch16_224": 64,
    "deit3_small_patch16_224": 64,
    "beit_base_patch16_224": 64,
    "cait_xxs24_224": 64,
    "swin_tiny_patch4_window7_224": 64,
    "swinv2_tiny_window8_256": 64,
    "swinv2_cr_tiny_224": 64,
    "maxvit_pico_rw_256": 64,
    "coatnet_pico_rw_224": 64,
    "hiera_tiny_224": 64,
    "crossvit_tiny_240": 240,
    "tnt_s_patch16_224": 64,
    "twins_svt_small": 64,
    "twins_pcpvt_small": 64,
    "visformer_tiny": 64,
    "mixer_s32_224": 64,
    "resmlp_12_224": 64,
    "gmlp_ti16_224": 64,
    "pit_ti_224": 64,
    "nest_tiny": 64,
    "sequencer2d_s": 64,
    "volo_d1_224": 64,
}
_TIMM_FIXED = (
    "tiny_vit_5m_224",
    "levit_128s",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "gcvit_xxtiny",
    "lambda_resnet26t",
    "botnet26t_256",
)

_TORCHVISION: dict[str, dict[str, Any]] = {
    "alexnet": {"size": 64},
    "squeezenet1_1": {"size": 64},
    "googlenet": {"size": 64},
    "shufflenet_v2_x0_5": {"size": 64},
    "vgg11": {"size": 64},
    "mnasnet0_5": {"size": 64},
    "swin_t": {"size": 64},
    "swin_v2_t": {"size": 64},
    "inception_v3": {"size": 96},
    "vit_b_16": {"size": 64, "settings": {"image_size": 64}},
    "maxvit_t": {"size": 224},
    "deeplabv3_mobilenet_v3_large": {"size": 64},
    "lraspp_mobilenet_v3_large": {"size": 64},
    "raft_small": {"size": 128},
    "r3d_18": {"size": 32},
    "mc3_18": {"size": 32},
    "r2plus1d_18": {"size": 32},
    "s3d": {"size": 224, "frames": 16},
    "mvit_v1_b": {"size": 224, "frames": 16},
    "mvit_v2_s": {"size": 224, "frames": 16},
    "swin3d_t": {"size": 64, "frames": 4},
}

_PYIQA: dict[str, dict[str, Any]] = {
    "cnniqa": {"size": 64},
    "wadiqam_fr": {"size": 64},
    "wadiqam_nr": {"size": 64},
    "dbcnn": {"size": 128},
    "hyperiqa": {"size": 224, "settings": {"num_crop": 1}},
    "maniqa": {"size": 224, "settings": {"test_sample": 1}},
    "topiq_nr": {"size": 128},
    "topiq_fr": {"size": 128},
    "ahiq": {"size": 224, "settings": {"num_crop": 1}},
    "lpips": {"size": 64},
    "lpips-vgg": {"size": 64},
    "stlpips": {"size": 64},
    "dists": {"size": 64},
    "deepdc": {"size": 64},
    "pieapp": {"size": 64},
    "nima": {"size": 224},
    "nima-vgg16-ava": {"size": 224},
    "tres": {"size": 224, "settings": {"test_sample": 1}},
    "musiq": {"size": 96},
    "ckdn": {"size": 224},
    "paq2piq": {"size": 128},
    "uranker": {"size": 128},
    "unique": {"size": 128},
    "msswd": {"size": 64},
    "metaiqa": {"size": 224},
}


_FULL_REFERENCE = {"rankdvqa", "torchvision/raft_small"} | {
    f"pyiqa/{n}"
    for n in [
        "wadiqam_fr",
        "topiq_fr",
        "ahiq",
        "lpips",
        "lpips-vgg",
        "stlpips",
        "dists",
        "deepdc",
        "pieapp",
        "ckdn",
        "msswd",
    ]
}
# Called with two tensors, or with a dictionary, already.
_OTHER_INPUTS = (
    "stanet",
    "pattern/Siamese",
    "pattern/Correlation",
    "pattern/CostVolume",
    "pattern/DictInputs",
    "pattern/ListOutputs",
)


def cases(pattern: str = "*", families: str = "*") -> list[Case]:
    """Every network whose name and family match shell patterns; a pattern may also be a part of the name."""
    found = [Case("rankdvqa", 96, 12, family="ours"), Case("stanet", family="ours")]
    found += [Case(f"timm/{n}", size, family="timm") for size, names in _TIMM.items() for n in names.split()]
    found += [Case(f"timm/{n}", s, settings={"img_size": s}, family="timm") for n, s in _TIMM_SIZED.items()]
    found += [Case(f"timm/{n}", 224, family="timm") for n in _TIMM_FIXED]
    found += [Case(f"torchvision/{n}", **facts, family="torchvision") for n, facts in _TORCHVISION.items()]
    if importlib.util.find_spec("pyiqa"):  # an extra
        found += [Case(f"pyiqa/{n}", **facts, family="pyiqa") for n, facts in _PYIQA.items()]
    found += [Case(name, family="pattern") for name in _hard_patterns()]
    single = [case for case in found if case.name not in _FULL_REFERENCE and not case.name.startswith(_OTHER_INPUTS)]
    found += [CorpusCase(name, family=network.kind) for name, network in _corpus().items()]
    found += [siamese(case, number) for number, case in enumerate(single)]
    return [
        case
        for case in found
        if (fnmatch.fnmatch(case.name, pattern) or pattern in case.name)
        and any(fnmatch.fnmatch(case.family, family) for family in families.split(","))
    ]


def _hard_patterns() -> list[str]:
    """The hard patterns of the tests, registered as a user registers a network: pattern/NAME."""
    sys.path.insert(0, str(TESTS))
    from pruning.patterns import PATTERNS

    for name, pattern in PATTERNS.items():
        _register(f"pattern/{name}", pattern)
    return [f"pattern/{name}" for name in sorted(PATTERNS)]


def _corpus() -> dict[str, Any]:
    """The networks of `patterns/`, every file of it."""
    for module in pkgutil.iter_modules(patterns.__path__):
        importlib.import_module(f"{patterns.__name__}.{module.name}")
    for name, network in NETWORKS.items():
        _register(name, network)
    return NETWORKS


def _register(name: str, network: Any) -> None:
    if name not in models:
        models.register(name, mode="NR", inputs="tensors")(network)
