"""DeepLab v2 (Chen et al., arXiv 1606.00915) with torchvision's ResNets."""

from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.functional import interpolate

from saltern.config import DeepLabV2Config
from saltern.models.weights import from_hub

ENCODERS = {
    "resnet50": (torchvision.models.resnet50, torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
    "resnet101": (torchvision.models.resnet101, torchvision.models.ResNet101_Weights.IMAGENET1K_V1),
}
"""`encoder` → torchvision's network and its first ImageNet weights, those that SMP means by `imagenet` too."""

RATES = (6, 12, 18, 24)
"""Dilations of the four branches, in pixels of the feature map (the paper's ASPP-L)."""
SCALES = (0.5, 0.75)
"""Sizes at which a multi-scale network sees the image besides its own."""
OUTPUT_STRIDE = 8
"""Pixels of the image per pixel of the feature map."""


class FrozenBatchNorm(nn.BatchNorm2d):
    """Batch norm that keeps its statistics, factors and offsets, in training too.

    So the authors train: `use_global_stats`, and a learning rate of 0 for statistics and `Scale` alike. torchvision's
    `FrozenBatchNorm2d` lacks a key of the weights and falls out of autocast into float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.requires_grad_(False).train()

    def train(self, mode: bool = True) -> "FrozenBatchNorm":
        """Stay in evaluation mode."""
        super().train(False)
        return self


class AtrousPyramid(nn.Module):
    """The sum of four dilated 3 × 3 convolutions with biases: features (B, C, h, w) → logits (B, 1, h, w).

    A branch of rate r looks at 9 pixels of the 2 r + 1 by 2 r + 1 around its own. Weights begin at N(0, 0.01²), as in
    the authors' code.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_branch(channels, rate) for rate in RATES)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, 1, h, w) of `features`."""
        first, *others = (branch(features) for branch in self.branches)
        return sum(others, start=first)


class DeepLabV2(nn.Module):
    """Atrous ResNet, pyramid, bilinear enlargement: images (B, 3, H, W) → logits (B, 1, H, W), sides of `stride`.

    With `multi_scale` the image is also seen at SCALES; the highest of the three logits counts, taken on the feature
    map as in the paper. The paper adds up a loss for each scale and one for the maximum; here the maximum alone is the
    logits and has the loss, so a scale learns where it wins. A step works on 1 + 0.75² + 0.5² = 1.8 times the pixels;
    the running statistics of batch norm that is not frozen follow all three sizes.

    Differences from the authors' Caffe network: torchvision has the stride of a stage in the 3 × 3 convolution, not in
    the 1 × 1 before it. Where a stride becomes a dilation, that convolution therefore keeps the dilation of the stage
    before it, and the features are, at every fourth pixel, exactly those that the ImageNet weights were trained to
    give. Images are RGB and normalised, not BGR less a mean. Features enlarge by pixel areas (`align_corners=False`):
    corners meet only in sides of 8 n + 1, and a stretch would depend on the image's size. No CRF
    follows, and multi-grid dilation is v3's.
    """

    def __init__(self, encoder: nn.Sequential, channels: int, *, multi_scale: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.pyramid = AtrousPyramid(channels)
        self.scales = SCALES if multi_scale else ()
        self.stride = 4 * OUTPUT_STRIDE if multi_scale else OUTPUT_STRIDE  # so that no scale has a part of a pixel

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, 1, H, W) of `image`."""
        logits = self._coarse(image)
        for scale in self.scales:
            size = [round(side * scale) for side in image.shape[2:]]
            smaller = self._coarse(_resize(image, size))
            logits = torch.maximum(logits, _resize(smaller, logits.shape[2:]))
        return _resize(logits, image.shape[2:])

    def _coarse(self, image: Tensor) -> Tensor:
        """Logits (B, 1, ceil(H / 8), ceil(W / 8))."""
        logits: Tensor = self.pyramid(self.encoder(image))
        return logits


def _branch(channels: int, rate: int) -> nn.Conv2d:
    branch = nn.Conv2d(channels, 1, 3, padding=rate, dilation=rate)
    nn.init.normal_(branch.weight, std=0.01)
    assert branch.bias is not None
    nn.init.zeros_(branch.bias)
    return branch


def build_deeplabv2(config: DeepLabV2Config, *, imagenet: bool) -> DeepLabV2:
    """The network that `config` names, on the CPU; with `imagenet` its encoder holds torchvision's weights.

    Raises:
        ConfigError: these weights can neither be fetched nor are they in torchvision's cache.
    """
    create, weights = ENCODERS[config.encoder]
    norm = FrozenBatchNorm if config.freeze_batchnorm else nn.BatchNorm2d
    whole = create(replace_stride_with_dilation=[False, True, True], norm_layer=norm)
    if imagenet:
        with from_hub(config.encoder):
            state = weights.get_state_dict(progress=False, check_hash=True)
        whole.load_state_dict(state)
    stages = OrderedDict((name, stage) for name, stage in whole.named_children() if name not in ("avgpool", "fc"))
    return DeepLabV2(nn.Sequential(stages), whole.fc.in_features, multi_scale=config.multi_scale)


def _resize(maps: Tensor, size: list[int] | torch.Size) -> Tensor:
    return interpolate(maps, size=list(size), mode="bilinear", align_corners=False)
