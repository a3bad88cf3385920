"""Networks, as typed dataclasses."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING


@dataclass(kw_only=True)
class HeadsConfig:
    """What a network carries beside its mask; `saltern.models.heads` says which architectures can."""

    hypercolumn: bool = False
    """The mask is decided from all sizes of the decoder's features at once, not from the finest alone."""
    deep_supervision: float | None = None
    """Weight of the phase's loss on masks from the decoder's coarser features; null: none."""
    empty: float | None = None
    """Weight of the cross-entropy of a classifier, empty or not, on the encoder's features; null: none. Its probability
    is stored beside the others, and a candidate of the decision."""


@dataclass(kw_only=True)
class ModelConfig:
    """What every network shares. Normalisation is stated here, never looked up."""

    kind: str = MISSING
    """Which family builds it; fixed by the file under `configs/model`."""
    mean: list[float] = field(default_factory=lambda: [0.485, 0.456, 0.406])
    """Per channel (RGB), of images scaled to [0, 1]; the default is ImageNet's."""
    std: list[float] = field(default_factory=lambda: [0.229, 0.224, 0.225])
    """Per channel, likewise. Both belong to `encoder_weights`: give those that the weights were trained with."""
    heads: HeadsConfig = field(default_factory=HeadsConfig)


@dataclass(kw_only=True)
class SmpConfig(ModelConfig):
    """Any architecture and encoder of segmentation-models-pytorch, by name."""

    kind: str = "smp"
    architecture: str = MISSING
    """One of ARCHITECTURES."""
    encoder: str = MISSING
    """One of ENCODERS, or `tu-NAME` for any encoder of timm."""
    encoder_weights: str | None = None
    """null (random), `imagenet` (from the hub), or the path of a local .safetensors or .pth file."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the SMP class, such as {decoder_attention_type: scse}."""


@dataclass(kw_only=True)
class DeepLabV2Config(ModelConfig):
    """DeepLab v2: an atrous ResNet with a feature map of an eighth of the image, and four dilated branches, summed."""

    kind: str = "deeplabv2"
    encoder: str = MISSING
    """One of DEEPLABV2_ENCODERS."""
    encoder_weights: str | None = None
    """null (random), `imagenet` (torchvision's, from the hub), or the path of a local .safetensors or .pth file."""
    multi_scale: bool = False
    """See the image at 0.5, 0.75 and 1 of its size; the highest of the three logits counts. 1.8 times the work."""
    freeze_batchnorm: bool = False
    """Keep the encoder's batch norm as its weights have it, as the paper's authors do; right for small batches."""
