"""InternVideo2's published checkpoints: where they are, and what is taken from one.

Facts from the public repository OpenGVLab/InternVideo (InternVideo2/single_modality and multi_modality). Our tensors
have the names of its classifier, so nothing is renamed. What differs between the files that are published:

- fine-tuned for action recognition: a classifier of 174 to 710 classes;
- pre-trained or distilled: no ``fc_norm`` and no classifier, but decoders and position embeddings for them;
- of several modalities (stage 2, CLIP): all of that under ``vision_encoder.``, beside a text encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from compressvqa.models.fetching import fetching
from compressvqa.models.position_embedding import resized


class OnAGrid(Protocol):
    """A network whose position embedding is that of a grid."""

    grid: tuple[int, int]

    def state_dict(self) -> dict[str, Tensor]:
        """Its tensors by name."""


_DISTILLED = "OpenGVLab/InternVideo2_distillation_models"
_ONE_BILLION = "1B_ft_k710_ft_k400_f8.pth"
# Repository and file by name, in the order in which they are tried. The first of each is what the authors' model zoo
# links to (MODEL_ZOO.md of single_modality); the second of the 1B, which is gated, is the name that its users write.
# All were fine-tuned on K710 and K400, with 8 frames of 224 pixels.
PUBLISHED: dict[str, tuple[tuple[str, str], ...]] = {
    **{
        f"internvideo2-{size.lower()}": ((_DISTILLED, f"stage1/{size}/{size}_ft_k710_ft_k400_f8/pytorch_model.bin"),)
        for size in ("S14", "B14", "L14")
    },
    "internvideo2-1b14": (
        ("OpenGVLab/InternVideo2-Stage1-1B-224p-f8-K400", _ONE_BILLION),
        ("OpenGVLab/InternVideo2-Stage1-1B-224p-K400", _ONE_BILLION),
    ),
}
_VISION = "vision_encoder."
_ONLY_FOR_PRETRAINING = (
    "clip_decoder.", "final_clip_decoder.", "mae_decoder.",
    "clip_pos_embed", "mae_pos_embed", "img_pos_embed", "clip_img_pos_embed",
)  # fmt: skip


def internvideo2_state(state: dict[str, Tensor], model: OnAGrid) -> dict[str, Tensor]:
    """What a network takes of a checkpoint; a file that is no InternVideo2 passes, so that the loader names its faults.

    The quality head is the network's own, unless the file holds one; so is ``fc_norm`` where the file has neither it
    nor a classifier. A position embedding of another grid is interpolated.

    Args:
        state: tensors of the file.
        model: the network that they are for.

    Raises:
        WeightsError: a position embedding of a grid that is not known.
    """
    if any(name.startswith(_VISION) for name in state):
        state = {name.removeprefix(_VISION): t for name, t in state.items() if name.startswith(_VISION)}
    if "cls_token" not in state:
        return state
    found = {name: tensor for name, tensor in state.items() if not name.startswith(_ONLY_FOR_PRETRAINING)}
    own = model.state_dict()
    head = {name for name in own if name.startswith("head.")}
    fresh = set()
    if not any(name.startswith("head.") for name in found):
        fresh = head
        if not any(name.startswith("fc_norm.") for name in found):
            fresh = fresh | {name for name in own if name.startswith("fc_norm.")}
    elif head <= set(found) and len(found["head.weight"]) == len(found["head.bias"]) > 1:
        fresh = head
    found.update({name: own[name] for name in fresh})
    embedding = found.get("pos_embed")
    if embedding is not None and embedding.ndim == 3 and embedding.shape[2] == own["pos_embed"].shape[2]:
        found["pos_embed"] = resized(embedding, *model.grid)
    return found


def fetch_published(name: str) -> Path:
    """The file of a network's published weights, from the hub or from its cache on this machine.

    Raises:
        WeightsError: it can't be fetched.
    """
    from huggingface_hub import errors

    *others, last = PUBLISHED[name]
    for repository, file in others:
        with fetching(f"{name} from huggingface.co/{repository}"):
            try:
                return _fetched(repository, file)
            except (errors.LocalEntryNotFoundError, errors.GatedRepoError):
                raise  # not reachable or not allowed: no question of the name
            except (errors.EntryNotFoundError, errors.RepositoryNotFoundError):
                continue
    with fetching(f"{name} from huggingface.co/{last[0]}"):
        return _fetched(*last)


def _fetched(repository: str, file: str) -> Path:
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(repository, file)
    if isinstance(cached, str):
        return Path(cached)
    # One question first: without a network, the download would ask six times before it gives up.
    huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(repository, file))
    return Path(huggingface_hub.hf_hub_download(repository, file))
