import warnings
from typing import Any

import albumentations as A
import numpy as np
import pytest

from saltern.config import CONFIG_DIR, AugmentConfig, ConfigError, TransformConfig, compose_config
from saltern.config.choices import TRANSFORMS
from saltern.data.loading.augment import Augment, _known_transforms, build_augment

GROUPS = sorted(path.stem for path in (CONFIG_DIR / "augment").glob("*.yaml"))


def built(*transforms: dict[str, Any]) -> Augment:
    items = [TransformConfig(name=item["name"], args=item.get("args", {})) for item in transforms]
    return build_augment(AugmentConfig(transforms=items))


def picture(seed: int = 0, height: int = 48, width: int = 56) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.kron(random.choice(np.array([0, 1, 255], np.uint8), (height // 8, width // 8)), np.ones((8, 8), np.uint8))
    return image, mask


def test_the_groups_of_the_design_exist() -> None:
    assert {"none", "flips", "light", "strong", "tgs", "voc"} <= set(GROUPS)


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_keeps_types_and_mask_values_and_depends_on_the_generator_alone(group: str) -> None:
    augment = build_augment(compose_config("run", [f"augment={group}"]).augment)
    image, mask = picture()
    results = []
    for index in (*range(12), *range(12)):
        new_image, new_mask = augment(image, mask, np.random.default_rng([0, index]))
        assert new_image.dtype == new_mask.dtype == np.uint8
        assert set(np.unique(new_mask)) <= {0, 1, 255}
        results.append((new_image.copy(), new_mask.copy()))
    for first, second in zip(results[:12], results[12:], strict=True):
        np.testing.assert_array_equal(first[0], second[0])
        np.testing.assert_array_equal(first[1], second[1])
    if group != "none":
        assert any(first[0].shape != image.shape or (first[0] != image).any() for first in results)


def test_image_and_mask_move_together() -> None:
    _, mask = picture()
    augment = built({"name": "HorizontalFlip"}, {"name": "RandomCrop", "args": {"height": 32, "width": 32}})
    for index in range(20):
        image, moved = augment(np.dstack([mask] * 3), mask, np.random.default_rng(index))
        np.testing.assert_array_equal(image[..., 0], moved)


@pytest.mark.parametrize(
    "name", ["Affine", "Rotate", "ShiftScaleRotate", "Perspective", "PadIfNeeded", "ElasticTransform"]
)
def test_invented_pixels_are_void(name: str) -> None:
    args = {"min_height": 96, "min_width": 96, "border_mode": 0} if name == "PadIfNeeded" else {"p": 1.0}
    if name == "Affine":
        args["rotate"] = [20, 20]
    if name == "Perspective":
        args["fit_output"] = True
    augment = built({"name": name, "args": args})
    image, mask = np.full((48, 48, 3), 200, np.uint8), np.ones((48, 48), np.uint8)
    seen_void = False
    for index in range(10):
        new_image, new_mask = augment(image, mask, np.random.default_rng(index))
        assert set(np.unique(new_mask)) <= {1, 255}
        assert (new_mask[new_image[..., 0] == 0] == 255).all()
        seen_void |= bool((new_mask == 255).any())
    assert seen_void or name == "ElasticTransform"


def test_a_reflecting_border_and_a_set_fill_invent_no_void() -> None:
    image, mask = np.full((48, 48, 3), 200, np.uint8), np.ones((48, 48), np.uint8)
    for args in ({"border_mode": 4}, {"fill_mask": 0}):
        augment = built({"name": "Affine", "args": {"rotate": [30, 30], "p": 1.0, **args}})
        _, new_mask = augment(image, mask, np.random.default_rng(0))
        assert 255 not in new_mask


def test_no_geometric_transform_of_the_library_gives_a_mask_new_values_by_default() -> None:
    image, mask = picture()
    tried = 0
    for name, cls in vars(A).items():
        if not (isinstance(cls, type) and issubclass(cls, A.DualTransform)) or issubclass(cls, A.Transform3D):
            continue
        try:
            augment = built({"name": name, "args": {"p": 1.0} | ({"x_max": 30, "y_max": 30} if name == "Crop" else {})})
        except ConfigError:
            continue  # needs arguments or boxes, or is a base class
        tried += 1
        for index in range(3):
            _, new_mask = augment(image, mask, np.random.default_rng(index))
            strange = set(np.unique(new_mask)) - {0, 1, 255}
            assert not strange, (name, strange)
    assert tried > 25


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ({"name": "HorizontalFlipp"}, "Did you mean 'HorizontalFlip'"),
        ({"name": "Affine", "args": {"scael": 1}}, "Did you mean 'scale'"),
        ({"name": "PadIfNeeded", "args": {"value": 7}}, "unknown argument of PadIfNeeded 'value'"),
        ({"name": "HorizontalFlip", "args": {"p": "often"}}, "HorizontalFlip refuses its arguments"),
        ({"name": "RandomCrop"}, "RandomCrop refuses its arguments"),
        ({"name": "Normalize"}, "the model normalises"),
        ({"name": "RandomCropNearBBox"}, "needs cropping_bbox beside image and mask"),
        ({"name": "Affine", "args": {"mask_interpolation": 1}}, "mask_interpolation=1: expected 0"),
        ({"name": "OneOf", "args": {"transforms": [{"name": "Flip"}]}}, "transforms[0].args.transforms[0].name"),
        ({"name": "OneOf", "args": {"transforms": ["Blur"]}}, "expected {name: …, args: {…}}"),
        ({"name": "OneOf", "args": {"transforms": None}}, "args.transforms=None: expected a list of transforms"),
        ({"name": "OneOf", "args": {"transforms": 5}}, "args.transforms=5: expected a list of transforms"),
        ({"name": "OneOrOther", "args": {"first": {"name": "Blurr"}}}, "Did you mean 'Blur'"),
        ({"name": "PixelDropout", "args": {"mask_drop_value": 7}}, "mask_drop_value=7: expected 0, 1 or 255"),
        ({"name": "CoarseDropout", "args": {"fill_mask": 9}}, "fill_mask=9: expected 0, 1 or 255"),
    ],
)
def test_what_the_library_would_only_warn_of_is_refused(transform: dict[str, Any], expected: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConfigError) as caught:
            built(transform)
    assert expected in str(caught.value)


def test_the_literal_table_of_names_is_the_librarys() -> None:
    assert set(TRANSFORMS) == set(_known_transforms())


def test_one_or_the_other_is_built_from_names() -> None:
    flips = {
        "first": {"name": "HorizontalFlip", "args": {"p": 1}},
        "second": {"name": "VerticalFlip", "args": {"p": 1}},
    }
    augment, (image, mask) = built({"name": "OneOrOther", "args": {**flips, "p": 1.0}}), picture()
    np.testing.assert_array_equal(augment(image, mask, np.random.default_rng(0))[1], mask[:, ::-1])


def test_a_pipeline_that_fails_on_an_image_names_its_size() -> None:
    augment = built({"name": "RandomCrop", "args": {"height": 100, "width": 100}})
    with pytest.raises(ConfigError, match="failed on an image of 48 x 56"):
        augment(*picture(), np.random.default_rng(0))
