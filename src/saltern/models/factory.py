"""Networks by name, wrapped so that every one maps uint8 images to logits."""

import inspect
import logging
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from saltern.config import ConfigError, DeepLabV2Config, ModelConfig, SmpConfig
from saltern.errors import unknown
from saltern.models.deeplabv2 import build_deeplabv2
from saltern.models.heads import Heads, build_heads
from saltern.models.outputs import Outputs
from saltern.models.sizes import Size, Sizes, find_sizes, refuse_other_size
from saltern.models.weights import IMAGENET, WeightsReport, from_hub, load_encoder_weights

log = logging.getLogger(__name__)


class SegmentationNet(nn.Module):
    """`net` behind its own normalisation, with its heads.

    Input (B, 3, H, W) RGB with values 0…255, uint8 or float; H and W multiples of `stride`, and where
    `sizes.only` is set, exactly these.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, net: nn.Module, config: ModelConfig, sizes: Sizes, name: str, heads: Heads | None = None
    ) -> None:
        """`name` tells users which network it is; of `config` the normalisation counts."""
        super().__init__()
        self.net = net
        self.heads = heads
        self.sizes = sizes
        self.name = name
        self.weights_report: WeightsReport | None = None  # set where encoder weights came from a file
        self.register_buffer("mean", 255.0 * torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Outputs:
        """Logits (B, 1, H, W) of `image`, and what the heads say.

        Raises:
            ConfigError: the network takes one size alone, and not this one.
        """
        self.refuse((image.shape[2], image.shape[3]))
        normal = (image.float() - self.mean) / self.std
        if self.heads is None:
            return Outputs(self.net(normal))
        outputs: Outputs = self.heads(self.net, normal)
        return outputs

    @property
    def stride(self) -> int:
        """What the sides of images are multiples of."""
        return self.sizes.stride

    def refuse(self, size: Size) -> None:
        """Raise a ConfigError where the network takes one size alone, and not `size` (height, width)."""
        if self.sizes.only is not None:
            refuse_other_size(self.sizes.only, self.name, size)

    @property
    def encoder(self) -> nn.Module:
        """The part that may hold pretrained weights."""
        encoder: nn.Module = self.net.encoder  # type: ignore[assignment]
        return encoder


def build_model(config: ModelConfig, *, pretrained: bool = True) -> SegmentationNet:
    """The network that `config` names, on the CPU.

    Args:
        config: Any of the model schemas.
        pretrained: Load `encoder_weights`. False where trained weights follow at once, so that neither
            the hub nor a local file is asked.

    Raises:
        ConfigError: options the architecture does not take, weights that cannot be had or do not fit.
    """
    return MODELS[config.kind](config, pretrained)


def _build_smp(config: ModelConfig, pretrained: bool) -> SegmentationNet:
    assert isinstance(config, SmpConfig)
    _check_options(config)
    try:
        net = _create(config, None)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"model: {config.architecture} with encoder {config.encoder} and options {config.options} "
            f"cannot be built: {error}"
        ) from error
    weights = config.encoder_weights if pretrained else None
    if weights == IMAGENET:
        with from_hub(config.encoder):
            net = _create(config, True if config.encoder.startswith("tu-") else IMAGENET)
    sizes = _sizes(config, net)
    heads = build_heads(config.heads, net, config.architecture, sizes.trial)
    model = SegmentationNet(net, config, sizes, f"{config.architecture} with encoder {config.encoder}", heads)
    _load_file(model, weights)
    return model


def _build_deeplabv2(config: ModelConfig, pretrained: bool) -> SegmentationNet:
    assert isinstance(config, DeepLabV2Config)
    weights = config.encoder_weights if pretrained else None
    net = build_deeplabv2(config, imagenet=weights == IMAGENET)
    sizes = Sizes(net.stride)
    heads = build_heads(config.heads, net, "deeplabv2", sizes.trial)
    model = SegmentationNet(net, config, sizes, f"deeplabv2 with encoder {config.encoder}", heads)
    _load_file(model, weights)
    return model


def _sizes(config: SmpConfig, net: Any) -> Sizes:
    """The sizes of image that `net` takes in evaluation mode, in which no batch is too small."""
    asked = config.options.get("img_size")
    sides = [asked, asked] if isinstance(asked, int) else list(asked or ())
    net.eval()
    sizes = find_sizes(net, int(net.encoder.output_stride), [(sides[0], sides[1])] if len(sides) == 2 else [])
    net.train()
    return sizes


def _load_file(model: SegmentationNet, weights: str | None) -> None:
    """Load the encoder's weights where they are those of a local file, and say in the log what fitted."""
    if weights not in (None, IMAGENET):
        model.weights_report = load_encoder_weights(model.encoder, weights)
        log.log(
            logging.INFO if model.weights_report.complete else logging.WARNING,
            "encoder weights %s: %s",
            weights,
            model.weights_report,
        )


def _check_options(config: SmpConfig) -> None:
    """SMP swallows arguments that it does not know; we do not."""
    for option in ("activation", "aux_params"):
        if option in config.options:
            raise ConfigError(f"model.options.{option}: the network gives logits of one mask alone; leave it out.")
    if config.encoder.startswith("tu-"):
        return  # what the architecture does not take goes to timm, which refuses what it does not take
    parameters = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[config.architecture]).parameters
    fixed = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation", "aux_params")
    known = [name for name, item in parameters.items() if item.kind is not item.VAR_KEYWORD and name not in fixed]
    for option in config.options:
        if option not in known:
            raise ConfigError(f"model.options.{option}: {unknown(f'option of {config.architecture}', option, known)}")


def _create(config: SmpConfig, weights: str | bool | None) -> Any:
    return smp.create_model(
        config.architecture,
        encoder_name=config.encoder,
        encoder_weights=weights,
        in_channels=3,
        classes=1,
        **config.options,
    )


MODELS = {"smp": _build_smp, "deeplabv2": _build_deeplabv2}
"""`model.kind` → its builder."""
