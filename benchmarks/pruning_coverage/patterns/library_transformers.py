"""Networks of the transformers library, small and with random weights, as scorers."""

# ruff: noqa: D102  (a class is what its name and its forward say)

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pruning_coverage.judging import Call
from pruning_coverage.patterns.base import Network, pictures

if importlib.util.find_spec("transformers"):  # a dependency of development

    class _Hugging(Network):
        """A backbone of the library; `features` are the pooled states of its last layer."""

        kind = "transformers"
        settings: ClassVar[dict[str, Any]] = {}
        wanted: ClassVar[tuple[str, ...]] = ()

        def __init__(self) -> None:
            super().__init__()
            self.backbone = self.backbone_of()
            self.head = nn.Linear(self.width, 1)

        width: ClassVar[int] = 64

        def backbone_of(self) -> nn.Module:
            """The library's network."""
            raise NotImplementedError

        def forward(self, x: Tensor) -> Any:
            return self.head(self.backbone(x).last_hidden_state.mean(1))

    class _Words(_Hugging):
        def inputs(self) -> Any:
            return (torch.arange(14).view(2, 7) * 5 % 90,)

        def calls(self) -> list[Call]:
            return [Call(self.inputs()), Call((torch.arange(11)[None] * 13 % 90,))]

    class Llama(_Words):
        """Grouped queries, rotary embedding, gated MLP, RMS norms."""

        def backbone_of(self) -> nn.Module:
            from transformers import LlamaConfig, LlamaModel

            return LlamaModel(
                LlamaConfig(
                    vocab_size=90,
                    hidden_size=64,
                    intermediate_size=128,
                    num_hidden_layers=2,
                    num_attention_heads=8,
                    num_key_value_heads=2,
                    max_position_embeddings=64,
                )
            )

    class LlamaForWords(_Words):
        """With its own head over the vocabulary, tied to the embedding."""

        def backbone_of(self) -> nn.Module:
            from transformers import LlamaConfig, LlamaForCausalLM

            return LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=90,
                    hidden_size=64,
                    intermediate_size=128,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=4,
                    tie_word_embeddings=True,
                )
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.backbone(x, use_cache=False).logits

    class Qwen2(_Words):
        """Biases on queries, keys and values; a sliding window."""

        def backbone_of(self) -> nn.Module:
            from transformers import Qwen2Config, Qwen2Model

            return Qwen2Model(
                Qwen2Config(
                    vocab_size=90,
                    hidden_size=64,
                    intermediate_size=128,
                    num_hidden_layers=2,
                    num_attention_heads=8,
                    num_key_value_heads=4,
                )
            )

    class Qwen3(_Words):
        """Queries and keys normalised over one head's width, which is a setting of its own."""

        def backbone_of(self) -> nn.Module:
            from transformers import Qwen3Config, Qwen3Model

            return Qwen3Model(
                Qwen3Config(
                    vocab_size=90,
                    hidden_size=64,
                    intermediate_size=128,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    num_key_value_heads=2,
                    head_dim=24,
                )
            )

    class Bert(_Words):
        """Learnt positions, post-norm."""

        def backbone_of(self) -> nn.Module:
            from transformers import BertConfig, BertModel

            return BertModel(
                BertConfig(
                    vocab_size=90, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
                ),
                add_pooling_layer=False,
            )

    class T5Encoder(_Words):
        """A bias of relative positions from the first layer, no scale."""

        def backbone_of(self) -> nn.Module:
            from transformers import T5Config, T5EncoderModel

            return T5EncoderModel(
                T5Config(
                    vocab_size=90,
                    d_model=64,
                    d_kv=16,
                    d_ff=128,
                    num_layers=2,
                    num_heads=4,
                    feed_forward_proj="gated-gelu",
                )
            )

    class SwinV2(_Hugging):
        """Cosine attention in shifted windows, patch merging, a bias from a small network."""

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32), (1, 3, 48, 32))
        width = 48

        def backbone_of(self) -> nn.Module:
            from transformers import Swinv2Config, Swinv2Model

            return Swinv2Model(
                Swinv2Config(image_size=32, patch_size=2, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4),
                add_pooling_layer=False,
            )

    class Swin(_Hugging):
        """Shifted windows with a table of relative positions."""

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32),)
        width = 48

        def backbone_of(self) -> nn.Module:
            from transformers import SwinConfig, SwinModel

            return SwinModel(
                SwinConfig(image_size=32, patch_size=2, embed_dim=24, depths=[2, 2], num_heads=[2, 4], window_size=4),
                add_pooling_layer=False,
            )

    class ViT(_Hugging):
        """Queries, keys and values in layers of their own; a class token."""

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32),)

        def backbone_of(self) -> nn.Module:
            from transformers import ViTConfig, ViTModel

            config = ViTConfig(
                image_size=32,
                patch_size=8,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
            )
            return ViTModel(config, add_pooling_layer=False)

    class DINOv2(_Hugging):
        """Layer scale, interpolated positions."""

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32), (1, 3, 48, 40))

        def backbone_of(self) -> nn.Module:
            from transformers import Dinov2Config, Dinov2Model

            config = Dinov2Config(
                image_size=32, patch_size=8, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, mlp_ratio=2
            )
            return Dinov2Model(config)

    class ConvNext(_Hugging):
        """Channels last inside each block."""

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32), (1, 3, 64, 32))

        def backbone_of(self) -> nn.Module:
            from transformers import ConvNextConfig, ConvNextModel

            return ConvNextModel(
                ConvNextConfig(hidden_sizes=[24, 48, 64], depths=[1, 1, 1], num_stages=3, patch_size=4)
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.backbone(x).pooler_output)

    class SegFormer(_Hugging):
        """Keys and values of a smaller map; overlapping patches; convolutions in the MLP."""

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32), (1, 3, 64, 32))

        def backbone_of(self) -> nn.Module:
            from transformers import SegformerConfig, SegformerModel

            return SegformerModel(
                SegformerConfig(
                    num_encoder_blocks=2,
                    depths=[1, 1],
                    sr_ratios=[2, 1],
                    hidden_sizes=[32, 64],
                    patch_sizes=[7, 3],
                    strides=[4, 2],
                    num_attention_heads=[2, 4],
                    mlp_ratios=[2, 2],
                )
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.backbone(x).last_hidden_state.mean((2, 3)))

    class VideoMAE(_Hugging):
        """Tubes of a clip as tokens; biases of queries and values as parameters of their own."""

        shape = (2, 4, 3, 16, 16)
        others = ((3, 4, 3, 16, 16),)

        def backbone_of(self) -> nn.Module:
            from transformers import VideoMAEConfig, VideoMAEModel

            config = VideoMAEConfig(
                image_size=16,
                patch_size=8,
                num_frames=4,
                tubelet_size=2,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
            )
            return VideoMAEModel(config)

    class TimeSformer(_Hugging):
        """Attention over time and over space by turns."""

        shape = (2, 4, 3, 16, 16)
        others = ((3, 4, 3, 16, 16),)

        def backbone_of(self) -> nn.Module:
            from transformers import TimesformerConfig, TimesformerModel

            config = TimesformerConfig(
                image_size=16,
                patch_size=8,
                num_frames=4,
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
            )
            return TimesformerModel(config)

    class VideoSwinLike(SwinV2):
        """Swin v2 frame by frame over a clip."""

        shape = (2, 3, 3, 32, 32)
        others = ((1, 5, 3, 32, 32),)

        def forward(self, clip: Tensor) -> Tensor:
            y = self.backbone(clip.flatten(0, 1)).last_hidden_state.mean(1)
            return self.head(y.unflatten(0, clip.shape[:2]).mean(1))

    class _Towers(_Hugging):
        def backbone_of(self) -> nn.Module:
            from transformers import CLIPConfig, CLIPModel

            text = {
                "vocab_size": 90,
                "hidden_size": 48,
                "intermediate_size": 96,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "max_position_embeddings": 16,
                "bos_token_id": 0,
                "eos_token_id": 89,
                "pad_token_id": 1,
            }
            vision = {
                "hidden_size": 64,
                "intermediate_size": 128,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": 32,
                "patch_size": 8,
            }
            return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32))

        words: ClassVar[tuple[int, ...]] = (0, 7, 30, 4, 89)

    class CLIP(_Towers):
        """Both towers: a picture against two prompts (CLIP-IQA)."""

        def forward(self, pixels: Tensor, tokens: Tensor) -> Tensor:
            return self.backbone(input_ids=tokens, pixel_values=pixels).logits_per_image.softmax(-1)[:, 0]

        def inputs(self) -> Any:
            return (*pictures((2, 3, 32, 32)), torch.tensor([self.words, self.words[::-1]]))

        def calls(self) -> list[Call]:
            tokens = torch.tensor([[0, 2, 3, 5, 89], [0, 44, 89, 89, 89]])
            return [Call(self.inputs()), Call((*pictures((3, 3, 32, 32), seed=4), tokens))]

    class CLIPVision(_Towers):
        """The picture's tower alone; the words' tower has not run."""

        def forward(self, pixels: Tensor) -> Tensor:
            return self.head(self.backbone.vision_model(pixel_values=pixels).last_hidden_state[:, 0])

        def text(self, tokens: Tensor) -> Tensor:
            """Pooled words, through the tower that the forward leaves out."""
            return self.backbone.text_model(input_ids=tokens).last_hidden_state[:, -1]

        shape = (2, 3, 32, 32)
        others = ((3, 3, 32, 32),)

        def calls(self) -> list[Call]:
            return [*super().calls(), Call((torch.tensor([self.words]),), "text")]

    class CLIPBothEntries(CLIPVision):
        """The same with the other entry point named."""

        def also(self) -> list[tuple[str, tuple[Any, ...]]]:
            return [("text", (torch.tensor([self.words]),))]

    class Whisper(_Hugging):
        """An encoder of sound spectra: convolutions before a transformer, with plain positions."""

        shape = (2, 20, 40)
        others = ((3, 20, 40),)

        def backbone_of(self) -> nn.Module:
            from transformers import WhisperConfig
            from transformers.models.whisper.modeling_whisper import WhisperEncoder

            config = WhisperConfig(
                num_mel_bins=20,
                d_model=64,
                encoder_layers=2,
                encoder_attention_heads=4,
                encoder_ffn_dim=128,
                max_source_positions=20,
            )
            return WhisperEncoder(config)
