"""Heads: what a network says beside its mask, and a mask that looks at all sizes of features."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from saltern.config import ConfigError, HeadsConfig
from saltern.models.outputs import Outputs
from saltern.models.sizes import Size, run_empty

LEVELS: dict[str, tuple[str, ...]] = {
    "unet": ("blocks",),
    "unetplusplus": ("blocks",),
    "manet": ("blocks",),
    "linknet": ("blocks",),
    "fpn": ("p5", "p4", "p3", "p2"),
    "pan": ("fpa", "gau3", "gau2", "gau1"),
    "upernet": ("psp", "fpn_conv_blocks"),
    "segformer": ("mlp_stage",),
    "dpt": ("fusion_blocks",),
}
"""Architecture → the parts of its decoder whose results are features of several sizes. The others have one size."""


class _Tap:
    """Notes what the modules that it is hooked to return, in the order in which they do."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.seen.append(output)


class Heads(nn.Module):
    """The heads of one network, which they listen to while it runs: it stays what it is, and its weights too.

    - `hypercolumn`: see `Hypercolumn`, which takes the place of the network's last layers.
    - `deep_supervision` (Lee et al., arXiv 1409.5185): in training, a 1 x 1 convolution gives a mask of each level of
      the decoder's features that is coarser than the last.
    - `empty`: see `Presence`, on the encoder's deepest features.
    """

    def __init__(self, config: HeadsConfig, net: Any, architecture: str, size: Size) -> None:
        """`net` takes images of `size`; it has an `encoder`, and SMP's `decoder` and head where several sizes count.

        Raises:
            ConfigError: a head that the architecture cannot carry.
        """
        super().__init__()
        self._encoder, self._levels, self._decoder = _Tap(), _Tap(), _Tap()
        several = config.hypercolumn or config.deep_supervision is not None
        if several:
            _listen(net, architecture, config, self._levels, self._decoder)
        net.encoder.register_forward_hook(self._encoder)
        run_empty(net, size)
        levels = [level.shape[1] for level in self._features()] if several else []
        if several and len(levels) < 2:
            raise ConfigError(
                f"model.heads.{_asked(config)}: the decoder of this {architecture} has features of one size alone. "
                "Give it more depth (model.options.encoder_depth), or leave the head out."
            )
        if config.hypercolumn:
            net.segmentation_head = Hypercolumn(net.segmentation_head, levels, self._levels)
        deep = config.deep_supervision is not None
        self.deep = nn.ModuleList(nn.Conv2d(channels, 1, 1) for channels in levels[:-1]) if deep else None
        self.presence = Presence(self._deepest().shape[1]) if config.empty is not None else None
        self._forget()

    def forward(self, net: nn.Module, images: Tensor) -> Outputs:
        """What `net` and its heads make of normalised `images` (B, 3, H, W)."""
        try:
            logits = net(images)
            deep: tuple[Tensor, ...] = ()
            if self.deep is not None and self.training:
                coarser = self._features()[:-1]
                deep = tuple(head(level) for head, level in zip(self.deep, coarser, strict=True))
            presence = None if self.presence is None else self.presence(self._deepest())
            return Outputs(logits, presence, deep)
        finally:
            self._forget()  # also where memory ran out, which the features would go on filling

    def _features(self) -> list[Tensor]:
        return _by_size(self._levels.seen, self._decoder.seen[-1])

    def _deepest(self) -> Tensor:
        """(B, C, h, w): the encoder's last features of the image at its own size, which a network sees first."""
        encoded = self._encoder.seen[0]
        features = encoded[0] if isinstance(encoded, tuple) else encoded  # a transformer brings its tokens too
        deepest: Tensor = features if isinstance(features, Tensor) else features[-1]
        return deepest

    def _forget(self) -> None:
        for tap in (self._encoder, self._levels, self._decoder):
            tap.seen.clear()


class Hypercolumn(nn.Module):
    """The head of a mask, on all levels of the decoder's features (Hariharan et al., arXiv 1411.5752).

    Each level comes to the channels of the finest by a 1 x 1 convolution, then to its size bilinearly; the network's
    own last layers read the stack. Both steps are linear, so it is as if the levels were enlarged first, for less
    memory.
    """

    def __init__(self, head: nn.Module, channels: list[int], tap: _Tap) -> None:
        """`head`: the network's own; `channels`: those of each level that `tap` notes, then of the head's input."""
        super().__init__()
        self._tap = tap
        self.columns = nn.ModuleList(nn.Conv2d(each, channels[-1], 1) for each in channels)
        self.head = head
        _widen(head, channels[-1], len(channels) * channels[-1])

    def forward(self, decoded: Tensor) -> Tensor:
        """What `head` makes of `decoded` (B, C, h, w) and the coarser levels noted before it."""
        columns = [column(level) for column, level in zip(self.columns, _by_size(self._tap.seen, decoded), strict=True)]
        size = decoded.shape[2:]
        enlarged = [interpolate(item, size=size, mode="bilinear", align_corners=False) for item in columns[:-1]]
        logits: Tensor = self.head(torch.cat([*enlarged, columns[-1]], dim=1))
        return logits


class Presence(nn.Module):
    """One logit, whether an image holds any foreground, from the mean and the maximum of features (B, C, h, w).

    In float32 whatever the network computes in: images are told apart by it, and half precision has few numbers.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 1), float32."""
        features = features.float()
        with torch.autocast(features.device.type, enabled=False):
            logit: Tensor = self.linear(torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1))
        return logit


def build_heads(config: HeadsConfig, net: nn.Module, architecture: str, size: Size) -> Heads | None:
    """The heads of `net` that `config` asks for; None where it asks for none. `net` takes images of `size`.

    Raises:
        ConfigError: a head that the architecture cannot carry.
    """
    return Heads(config, net, architecture, size) if config != HeadsConfig() else None


def _asked(config: HeadsConfig) -> str:
    return "hypercolumn" if config.hypercolumn else "deep_supervision"


def _listen(net: Any, architecture: str, config: HeadsConfig, levels: _Tap, decoder: _Tap) -> None:
    if architecture not in LEVELS:
        raise ConfigError(
            f"model.heads.{_asked(config)}: {architecture} has decoder features of one size alone, so it cannot carry "
            f"this head. Those that can: {', '.join(LEVELS)}."
        )
    for name in LEVELS[architecture]:
        part = getattr(net.decoder, name, None)
        if part is None:  # a shallow PAN lacks gau3 and gau2
            continue
        for module in part.children() if isinstance(part, nn.ModuleList) else _of_dict(part):
            module.register_forward_hook(levels)
    net.decoder.register_forward_hook(decoder)


def _of_dict(part: nn.Module) -> list[nn.Module]:
    return list(part.values()) if isinstance(part, nn.ModuleDict) else [part]


def _by_size(seen: list[Tensor], finest: Tensor) -> list[Tensor]:
    """The last of `seen` of each size that is coarser than `finest`, coarse to fine, then `finest`."""
    by_area = {item.shape[2] * item.shape[3]: item for item in seen}
    finest_area = finest.shape[2] * finest.shape[3]
    return [*(by_area[area] for area in sorted(by_area) if area < finest_area), finest]


def _widen(head: nn.Module, channels: int, wider: int) -> None:
    """Let the first convolution of `head` read `wider` channels in place of `channels`, from fresh weights."""
    for module in head.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                assert child.in_channels == channels, "a head that reads something else than the decoder's features"
                kernel, padding = child.kernel_size[0], child.padding
                assert isinstance(padding, tuple), "padding by name"
                bias = child.bias is not None
                setattr(module, name, nn.Conv2d(wider, child.out_channels, kernel, padding=padding[0], bias=bias))
                return
    raise AssertionError("a head without a convolution")
