"""The eight data sets of compressed HD video that RankDVQA is judged on (RankDVQA-mini, Table I).

Each is read from the layout that RankDVQA's test code expects: ``subj_score.json``, references in ``ORIG/``, distorted
files in ``TEST/``. The lists of scores that Netflix (VMAF) and the authors of FUNQUE+ publish as Python files are read
too, with the direction that they have there.
"""

from __future__ import annotations

from pathlib import Path

from compressvqa.opinions.generic import read_layout
from compressvqa.opinions.manifest import Manifest
from compressvqa.opinions.published import Published
from compressvqa.registry import mos_sets

RANKDVQA = "subj_score.json with ORIG/ and TEST/"
CODE = "form read in RankDVQA's public test code and files"
BRISTOL = "For research; see the terms on its page"
CDVL = "The terms of the Consumer Digital Video Library"


@mos_sets.register(
    "nflx",
    published=Published(
        "NFLX", "video", True, "DMOS", True, None, None, None,
        "Not public; Netflix used it to train VMAF", "Not distributed",
        "Z. Li et al., Toward a practical perceptual video quality metric, Netflix technology blog 2016",
        RANKDVQA, CODE + "; counts not verified",
    ),
)  # fmt: skip
def nflx(folder: Path) -> Manifest:
    """Netflix's own data set, of which NFLX-P is the public part; higher scores are better, whatever it is called."""
    return read_layout(folder, "nflx", python_higher=True)


@mos_sets.register(
    "nflx-p",
    published=Published(
        "NFLX-P (Netflix public)", "video", True, "DMOS", True, None, 70, 9,
        "Linked from the VMAF repository, resource/doc/datasets.md", "For research; on request",
        "Z. Li et al., Toward a practical perceptual video quality metric, Netflix technology blog 2016",
        f"NFLX_dataset_public.py or NFLX_dataset_public_raw.py of VMAF; or {RANKDVQA}",
        "files in the VMAF repository; 9 references that are listed as distorted are left out",
    ),
)  # fmt: skip
def nflx_p(folder: Path) -> Manifest:
    """Netflix public data set: 9 sources, H.264 at many sizes and rates, shown at 1920x1080."""
    return read_layout(folder, "nflx-p", python_higher=True)


@mos_sets.register(
    "bvi-hd",
    published=Published(
        "BVI-HD", "video", True, "DMOS", False, None, 384, 32,
        "University of Bristol, research data; also the Consumer Digital Video Library", BRISTOL,
        "F. Zhang et al., BVI-HD: a video quality database for HEVC compressed and texture synthesized content, "
        "IEEE Trans. Multimedia 20, 2018",
        f"{RANKDVQA}; or a Python list with ORIG/ and HEVC/ (its 192 HEVC clips)",
        CODE + "; the Python list in FUNQUE+",
    ),
)  # fmt: skip
def bvi_hd(folder: Path) -> Manifest:
    """BVI-HD: HEVC and HEVC with synthesised texture, 1920x1080."""
    return read_layout(folder, "bvi-hd", python_higher=False)


@mos_sets.register(
    "cc-hd",
    published=Published(
        "CC-HD (BVI-CC at 1080p)", "video", True, "DMOS", False, None, 108, 9,
        "University of Bristol, BVI-CC", BRISTOL,
        "A. Katsenou et al., BVI-CC: a dataset for research on video compression and quality assessment, "
        "Frontiers in Signal Processing 2, 2022",
        f"{RANKDVQA}; or a Python list with ORIG_MP4/ and TEST_MP4/CC-HD/", CODE + "; the Python list in FUNQUE+",
    ),
)  # fmt: skip
def cc_hd(folder: Path) -> Manifest:
    """BVI-CC at 1920x1080, 10 bit: HM, AV1 and VTM at four rates each."""
    return read_layout(folder, "cc-hd", bitdepth=10, python_higher=False)


@mos_sets.register(
    "cc-hddo",
    published=Published(
        "CC-HDDO (BVI-CC with dynamic optimisation)", "video", True, "DMOS", False, None, 90, 9,
        "University of Bristol, BVI-CC", BRISTOL,
        "A. Katsenou et al., BVI-CC: a dataset for research on video compression and quality assessment, "
        "Frontiers in Signal Processing 2, 2022",
        f"{RANKDVQA}; or a Python list with ORIG_MP4/ and TEST_MP4/CC-HDDO/", CODE + "; the Python list in FUNQUE+",
    ),
)  # fmt: skip
def cc_hddo(folder: Path) -> Manifest:
    """BVI-CC with the best size for each rate: HM and AV1 at five rates, 10 bit."""
    return read_layout(folder, "cc-hddo", bitdepth=10, python_higher=False)


@mos_sets.register(
    "mcl-v",
    published=Published(
        "MCL-V", "video", True, "MOS", True, None, 96, 12,
        "Media Communications Lab, University of Southern California", "For research; see the terms on its page",
        "J. Y. Lin et al., MCL-V: a streaming video quality assessment database, J. Vis. Commun. Image R. 30, 2015",
        f"{RANKDVQA}; or a Python list with reference_sequences/ and distorted_sequences/ (there lower is better)",
        CODE + "; the Python list in FUNQUE+; the authors' own table was not seen",
    ),
)  # fmt: skip
def mcl_v(folder: Path) -> Manifest:
    """MCL-V: H.264 with and without scaling, four levels each, 1920x1080."""
    # FUNQUE+'s list rises with the level of distortion.
    return read_layout(folder, "mcl-v", python_higher=False)


@mos_sets.register(
    "shvc",
    published=Published(
        "SHVC verification test", "video", True, "MOS", True, (0, 10), 96, 10,
        "JCT-VC, document JCTVC-W0095", "For work on the standard; ask the proponents",
        "Y. He et al., SHVC verification test results, JCTVC-W0095, 2016",
        f"{RANKDVQA}; or a Python list with ref/ and dis/",
        CODE + "; the Python list in FUNQUE+ (64 of the 96 at 1080p)",
    ),
)  # fmt: skip
def shvc(folder: Path) -> Manifest:
    """The verification test of scalable HEVC, against single layers and simulcast; 8 and 10 bit, 1080p and 2160p."""
    return read_layout(folder, "shvc", python_higher=True)


@mos_sets.register(
    "vqeghd3",
    published=Published(
        "VQEGHD3", "video", True, "DMOS", True, None, 72, 9,
        "Consumer Digital Video Library", CDVL,
        "Video Quality Experts Group, Report on the validation of video quality models for high definition video "
        "content, 2010",
        f"VQEGHD3_dataset.py or VQEGHD3_dataset_raw.py of VMAF (63 items of 8 references); or {RANKDVQA}",
        "files in the VMAF repository",
    ),
)  # fmt: skip
def vqeghd3(folder: Path) -> Manifest:
    """VQEG HD phase 1, test 3: MPEG-2 and H.264, 1920x1080; higher scores are better, whatever they are called."""
    return read_layout(folder, "vqeghd3", python_higher=True)
