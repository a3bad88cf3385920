"""Exported networks say what the run says, at any size, and what cannot be exported is refused with the reason."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import saltern
from saltern import pipeline
from saltern.config import ConfigError, ExportConfig, compose_config
from saltern.errors import RunError
from saltern.inference import onnx_files
from saltern.models import SegmentationNet
from saltern.pipeline import exporting

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in onnx_files.NEEDED), reason="pip install -e '.[export]'"
)


@pytest.fixture(scope="module")
def outputs(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, which exports are written into."""
    folder = tmp_path_factory.mktemp("exports") / "outputs"
    shutil.copytree(place / "outputs", folder)
    return folder


def export(outputs: Path, **asked: Any) -> list[exporting.ExportedFile]:
    return pipeline.export_run(pipeline.Job.reopen(str(outputs), "a"), ExportConfig(**asked))


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@needs_onnx
@pytest.mark.timeout(900)  # torch's tracer takes half a minute of a processor, which may be shared
def test_the_mean_says_what_the_run_says_of_any_image(outputs: Path, place: Path) -> None:
    """The image is padded by hand, to the stride that the file states; `saltern.load` knows nothing of the file."""
    import onnx

    (done,) = export(outputs, networks="mean", compare=64)
    assert (done.path, done.networks) == (outputs / "a/export/mean.onnx", 2)
    assert done.parity.images == 5
    assert done.parity.pixels == 5 * 40 * 40
    assert (done.parity.probability <= 1e-4, done.parity.differing) == (True, 0)
    assert [item.name for item in done.path.parent.iterdir() if item.suffix != ".json"] == ["mean.onnx"]
    facts = {item.key: item.value for item in onnx.load(done.path).metadata_props}
    stride, ran = int(facts["stride"]), session(done.path)
    assert json.loads(facts["decision"]) == json.loads((outputs / "a/decision.json").read_text())
    run = saltern.load(outputs / "a", accelerator="cpu", precision="fp32")
    random = np.random.default_rng(0)
    images = [np.asarray(Image.open(path)) for path in sorted((place / "data/test/images").iterdir())[:2]]
    images = [image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in images]
    for image in (*images, random.integers(0, 256, (70, 33, 3), np.uint8)):
        pads = [(-side % stride // 2, -side % stride - -side % stride // 2) for side in image.shape[:2]]
        padded = np.pad(image, [*pads, (0, 0)], mode="reflect").transpose(2, 0, 1)
        probs, presence = ran.run(None, {"image": np.stack([padded, padded, padded])})
        assert presence.shape == (3,)
        top, left = pads[0][0], pads[1][0]
        sliced = probs[2, 0, top : top + image.shape[0], left : left + image.shape[1]]
        assert np.abs(sliced - run.probs(image)).max() <= 1e-4


@pytest.fixture(scope="module")
def member(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the file of one network, with its table beside it."""
    done = export(outputs, members=[1])
    assert [item.path.name for item in done] == ["fold_1_best.onnx"]
    folder = tmp_path_factory.mktemp("member") / "export"
    shutil.copytree(done[0].path.parent, folder)
    return folder / done[0].path.name


@needs_onnx
def test_each_member_is_a_file(outputs: Path, member: Path) -> None:
    content = json.loads(member.with_name("export.json").read_text())
    assert content["files"]["fold_1_best.onnx"]["images"] == 5
    assert content["views"] == "identity hflip"
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 64), np.uint8)
    job = pipeline.Job.reopen(str(outputs), "a")
    network = exporting.build_model(job.config.model, pretrained=False).eval()
    exporting.load_weights(outputs / "a/fold_1/best.safetensors", network)
    with torch.no_grad():
        pair = [network(torch.from_numpy(np.ascontiguousarray(item))) for item in (images, images[..., ::-1])]
    expected = (pair[0].logits.sigmoid() + pair[1].logits.sigmoid().flip(-1)) / 2
    probs, presence = session(member).run(None, {"image": images})
    assert np.abs(probs - expected.numpy()).max() <= 1e-5
    expected = (pair[0].presence.sigmoid() + pair[1].presence.sigmoid())[:, 0] / 2
    assert np.abs(presence - expected.numpy()).max() <= 1e-5


@needs_onnx
def test_a_file_that_says_something_else_is_refused_with_the_figures(
    outputs: Path, member: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the exporter writes is the file of before; what it says is moved."""
    monkeypatch.setattr(exporting, "write_onnx", lambda path, *_: shutil.copyfile(member, path))
    before = export(outputs, members=[1])[0].path
    assert before.read_bytes() == member.read_bytes()
    calling = onnx_files.OnnxNetwork.__call__

    def off_by(distance: float) -> None:
        def off(self: onnx_files.OnnxNetwork, images: np.ndarray) -> Any:
            said = calling(self, images)
            return replace(said, probs=said.probs + distance)

        monkeypatch.setattr(onnx_files.OnnxNetwork, "__call__", off)

    off_by(2e-4)
    with pytest.raises(RunError, match=r"fold_1_best\.onnx is not written.*differ by up to 0\.0002.*at most 0\.0001"):
        export(outputs, members=[1])
    off_by(float("nan"))
    with pytest.raises(RunError):
        export(outputs, members=[1])
    off_by(9e-5)
    with pytest.raises(RunError, match=r"(\d+) of 8000 pixels.*most_pixels=0.*most_pixels=\1 allows it") as error:
        export(outputs, members=[1], compare=64)
    assert [path.name for path in before.parent.iterdir() if path.suffix == ".onnx"] == [before.name], "it was lost"
    many = int(str(error.value).rsplit("most_pixels=", 1)[1].split()[0])
    assert export(outputs, members=[1], compare=64, most_pixels=many)[0].parity.differing == many


@needs_onnx
def test_what_cannot_be_exported_is_refused_in_one_line(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = SegmentationNet.forward

    def depends_on_values(self: SegmentationNet, image: torch.Tensor) -> Any:
        return forward(self, image) if image.float().mean() > 3 else forward(self, image.flip(2))

    monkeypatch.setattr(SegmentationNet, "forward", depends_on_values)
    with pytest.raises(RunError, match="unet with encoder mobilenet_v2: cannot be exported: ") as error:
        export(outputs, members=[0])
    assert "\n" not in str(error.value)


def test_missing_packages_are_answered_with_the_line_for_pip(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_files, "NEEDED", ("json", "onnx_of_nobody"))
    with pytest.raises(ConfigError, match=r"not installed: onnx_of_nobody.*pip install -e '\.\[export\]'"):
        export(outputs)


def test_views_at_a_scale_are_refused(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "require_onnx", lambda: None)
    job = pipeline.Job.reopen(str(outputs), "a")
    job.config.inference.views.append("hflip@0.75")
    with pytest.raises(ConfigError, match=r"hflip@0\.75.*make bundle"):
        pipeline.export_run(job, ExportConfig())


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("format=tflite", "format: unknown value 'tflite'. Known: onnx"),
        ("format=siim", "format: unknown value 'siim'"),
        ("networks=sum", "networks: unknown value 'sum'"),
        ("compare=0", "at least 1"),
        ("most_pixels=-1", "most_pixels=-1: expected 0 or more"),
    ],
)
def test_what_cannot_be_asked_for(override: str, words: str) -> None:
    assert compose_config("export", ["format=onnx"]).format == "onnx"
    assert compose_config("score", ["submission=a", "truth=b", "format=siim"]).format.suffix is not None
    with pytest.raises(ConfigError) as error:
        compose_config("export", [override])
    assert words in str(error.value)
