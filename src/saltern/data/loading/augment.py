"""Albumentations pipelines from config, checked against the library before training starts."""

import inspect
import os
import random as python_random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise its import asks the network for a newer version
import albumentations as A

from saltern.config import AugmentConfig, ConfigError, TransformConfig
from saltern.data.source.masks import VOID
from saltern.errors import unknown

_TYPE_CHANGERS = {"Normalize", "ToFloat", "FromFloat", "ToTensorV2", "ToTensor3D"}
_BASES = {"BasicTransform", "DualTransform", "ImageOnlyTransform", "BaseCompose", "Compose", "ReplayCompose", "Lambda"}
_FOR_BOXES = {"AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomSizedBBoxSafeCrop"}
_NOT_BY_CONFIG = _BASES | _FOR_BOXES
_MASK_FILLS = {"fill_mask", "mask_drop_value"}
"""Arguments with which a transform writes a value of its own into masks."""
_NEAREST = (0, 6)
"""cv2.INTER_NEAREST and cv2.INTER_NEAREST_EXACT: the only interpolations that give a mask no new values."""


class Augment:
    """A checked pipeline; what it does to an image depends on the given generator alone."""

    def __init__(self, transforms: Sequence[Any]) -> None:
        self._pipeline = A.Compose(list(transforms)) if transforms else None

    @property
    def transforms(self) -> list[Any]:
        """The library's transforms, in order."""
        return [] if self._pipeline is None else list(self._pipeline.transforms)

    def draw(self, size: tuple[int, int], random: np.random.Generator) -> list[dict[str, Any] | None]:
        """What a call would do to an image of `size` (height, width), by the same draws, without its pixels.

        For transforms that keep the size, and look at no pixel to draw.

        Returns:
            For each transform its parameters, as the library's `apply` takes them; None where its `p` leaves it out.
        """
        if self._pipeline is None:
            return []
        self._seed(random)
        self._pipeline.py_random.random()  # a call begins by asking whether anything is done, which is certain
        blank = {"image": np.broadcast_to(np.uint8(0), (*size, 3))}
        drawn: list[dict[str, Any] | None] = []
        for transform in self.transforms:
            if not transform.should_apply():
                drawn.append(None)
                continue
            params = transform.update_transform_params(transform.get_params(), blank)
            drawn.append(params | transform.get_params_dependent_on_data(params, blank))
        return drawn

    def _seed(self, random: np.random.Generator) -> None:
        assert self._pipeline is not None, "nothing to be drawn"
        self._pipeline.set_random_state(random, python_random.Random(int(random.integers(1 << 62))))

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Augment `image` uint8 (H, W, 3) together with `mask` uint8 (H, W) in {0, 1, 255}; the size may change.

        Raises:
            ConfigError: the pipeline fails on this image, or gives something else than uint8 (h, w, 3) and (h, w).
        """
        if self._pipeline is None:
            return image, mask
        self._seed(random)
        try:
            done = self._pipeline(image=image, mask=mask)
        except Exception as error:  # the library raises what its arrays raise, such as for a crop beyond the image
            height, width = mask.shape
            raise ConfigError(f"augment.transforms: failed on an image of {height} x {width}: {error}") from error
        image, mask = done["image"], done["mask"]
        good = image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)
        if not good:
            raise ConfigError(
                f"augment.transforms: the pipeline gives an image {image.dtype} {image.shape} and a mask {mask.dtype} "
                f"{mask.shape}; expected uint8 (height, width, 3) and uint8 (height, width). The model normalises."
            )
        return image, mask


def build_augment(config: AugmentConfig) -> Augment:
    """The pipeline that `config` describes.

    A transform that invents pixels (a rotation with a constant border) marks them void in the mask, by
    `fill_mask=255`, unless the config sets `fill_mask` itself. With a reflecting border it invents none.

    Raises:
        ConfigError: a name or an argument that the library does not know, a value that it refuses, or a transform that
            does not fit images and masks of uint8.
    """
    return Augment(list(_build_all(config.transforms, "augment.transforms")))


def _build_all(transforms: Sequence[TransformConfig | Mapping[str, Any]], where: str) -> Iterator[Any]:
    for number, item in enumerate(transforms):
        name, args = (item.name, item.args) if isinstance(item, TransformConfig) else _named(item, f"{where}[{number}]")
        yield _build_one(name, dict(args), f"{where}[{number}]")


def _named(item: Any, where: str) -> tuple[str, Mapping[str, Any]]:
    """A transform inside OneOf and its like, where the schema does not reach."""
    if not (isinstance(item, Mapping) and set(item) <= {"name", "args"} and "name" in item):
        raise ConfigError(f"{where}={item!r}: expected {{name: …, args: {{…}}}}.")
    return str(item["name"]), item.get("args") or {}


def _build_one(name: str, args: dict[str, Any], where: str) -> Any:
    cls = _known_transforms().get(name)
    if cls is None:
        raise ConfigError(f"{where}.name: {unknown('transform', name, sorted(_known_transforms()))}")
    if name in _TYPE_CHANGERS:
        raise ConfigError(
            f"{where}: {name} changes the pixel type; images stay uint8, since the model normalises them."
        )
    _check_args(cls, args, where)
    fill = inspect.signature(cls).parameters.get("fill_mask")
    if fill is not None and fill.default is not None:
        args.setdefault("fill_mask", VOID)
    return _construct(cls, args | _nested(args, where), where)


def _check_args(cls: Any, args: Mapping[str, Any], where: str) -> None:
    """Refuse unknown names, and values with which a mask would get new ones."""
    parameters = inspect.signature(cls).parameters
    for key in args:
        if key not in parameters:
            raise ConfigError(f"{where}.args: {unknown(f'argument of {cls.__name__}', key, list(parameters))}")
    if args.get("mask_interpolation", 0) not in _NEAREST:
        raise ConfigError(
            f"{where}.args.mask_interpolation={args['mask_interpolation']!r}: expected 0 (nearest); any other "
            "gives the mask values between foreground, background and void."
        )
    for key in _MASK_FILLS & set(args):
        if args[key] is not None and (isinstance(args[key], bool) or args[key] not in (0, 1, VOID)):
            raise ConfigError(f"{where}.args.{key}={args[key]!r}: expected 0, 1 or {VOID} (void), as masks hold them.")


def _nested(args: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arguments of OneOf and its like that are transforms themselves, built."""
    built: dict[str, Any] = {}
    if "transforms" in args:
        inner = args["transforms"]
        if not isinstance(inner, Sequence) or isinstance(inner, str):
            raise ConfigError(f"{where}.args.transforms={inner!r}: expected a list of transforms.")
        built["transforms"] = list(_build_all(inner, f"{where}.args.transforms"))
    for key in {"first", "second"} & set(args):
        built[key] = next(_build_all([args[key]], f"{where}.args.{key}"))
    return built


def _construct(cls: Any, args: dict[str, Any], where: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the library only warns of arguments that it then ignores
        warnings.filterwarnings("ignore", message=".*is a special case of Affine")
        try:
            transform = cls(**args)
        except (UserWarning, ValueError, TypeError) as error:
            shown = " ".join(str(error).split())
            raise ConfigError(f"{where}: {cls.__name__} refuses its arguments: {shown}") from error
    needs = set(getattr(transform, "targets_as_params", ())) - {"image", "mask"}
    if needs:
        raise ConfigError(f"{where}: {cls.__name__} needs {', '.join(sorted(needs))} beside image and mask.")
    return transform


def _known_transforms() -> dict[str, Any]:
    """Every transform of the library that can be named in a config."""
    bases = (A.BasicTransform, A.BaseCompose)
    found = {name: value for name, value in vars(A).items() if inspect.isclass(value) and issubclass(value, bases)}
    return {
        name: cls for name, cls in found.items() if name not in _NOT_BY_CONFIG and not issubclass(cls, A.Transform3D)
    }
