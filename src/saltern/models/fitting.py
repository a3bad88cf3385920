"""Tensors of a file, brought to the names and the grids of an encoder."""

from collections import Counter
from collections.abc import Callable
from math import isqrt

from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn

PREFIXES = ("module.", "model.", "net.", "encoder.", "backbone.")
"""What training frameworks put before the encoder's own keys."""

_LARGEST_PATCH = 64
"""Sides of the largest patch that is resampled, pixels; the work grows with its fourth power."""


def fit_names(found: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """`found` under the names that an encoder has for them, `own`, where it has one; the others as they come.

    A prefix that a framework put before the keys is taken off, timm's put on, where more of them fit then. timm calls a
    layer `stages.0.blocks` in a whole network and `stages_0.blocks` in one that gives features: keys that differ in
    `.` and `_` alone are the same, unless two keys of one side would be.
    """
    found = _strip(found, {_plain(key) for key in own})
    free = [key for key in own if key not in found]
    left = [key for key in found if key not in own]
    own_names, found_names = (Counter(map(_plain, keys)) for keys in (free, left))
    name_of = {_plain(key): key for key in free}
    renamed = {
        key: name_of[_plain(key)] for key in left if own_names[_plain(key)] == 1 and found_names[_plain(key)] == 1
    }
    return {renamed.get(key, key): value for key, value in found.items()}


def resampling(encoder: nn.Module, key: str, shape: tuple[int, ...]) -> Callable[[Tensor], Tensor] | None:
    """What makes of a tensor of `shape` the one of another shape that `encoder` holds as `key`; None: nothing can.

    So for vision transformers: position embeddings (1, tokens, C) on another square grid of patches (bicubic, as in
    timm and DINOv2), and the convolution (D, C, p, p) that embeds patches, for patches of another size (FlexiViT,
    arXiv 2212.08013). Both are timm's.
    """
    parent, _, name = key.rpartition(".")
    own = tuple(encoder.state_dict()[key].shape)
    if name == "pos_embed" and len(own) == len(shape) == 3 and (own[0], own[2]) == (1, shape[2]) and shape[0] == 1:
        return _positions(encoder.get_submodule(parent), own[1], shape[1])
    square = len(own) == len(shape) == 4 and own[:2] == shape[:2] and shape[2] == shape[3] <= _LARGEST_PATCH
    if key.endswith("patch_embed.proj.weight") and square:
        return lambda weight: resample_patch_embed(weight, list(own[2:]))
    return None


def _positions(transformer: nn.Module, own: int, tokens: int) -> Callable[[Tensor], Tensor] | None:
    grid = getattr(getattr(transformer, "patch_embed", None), "grid_size", None)
    prefix = getattr(transformer, "num_prefix_tokens", None)
    if not isinstance(grid, tuple) or not isinstance(prefix, int):
        return None
    if getattr(transformer, "no_embed_class", False):
        prefix = 0
    patches = tokens - prefix
    if patches < 1 or isqrt(patches) ** 2 != patches or own != grid[0] * grid[1] + prefix:
        return None
    return lambda embedding: resample_abs_pos_embed(embedding, list(grid), num_prefix_tokens=prefix)


def _plain(key: str) -> str:
    return key.replace(".", "_")


def _strip(found: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """`found` without a prefix that a framework put before the keys, or with timm's, where more of them fit then.

    `own` holds plain names.
    """
    while True:
        variants = [
            {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
            for prefix in PREFIXES
        ]
        variants.append({f"model.{key}": value for key, value in found.items()})
        best = max(variants, key=lambda keys: sum(_plain(key) in own for key in keys))
        if sum(_plain(key) in own for key in best) > sum(_plain(key) in own for key in found):
            found = best
            continue
        nested = next((keys for keys in variants[:-1] if len(keys) == len(found)), None)
        if nested is None or any(_plain(key) in own for key in found):
            return found
        found = nested
