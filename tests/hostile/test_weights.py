"""Weights from anywhere: every value is loaded as the file has it, or nothing is; nothing in a file is ever run."""

import io
import json
import os
import pickle
import struct
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn
from tries import Tally

from saltern.errors import SalternError
from saltern.models import load_encoder_weights

State = dict[str, Tensor]

FLAGS = {
    "old format": {"_use_new_zipfile_serialization": False},
    "zip": {},
    "protocol 4": {"pickle_protocol": 4},
}


def encoder() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def state(seed: int) -> State:
    torch.manual_seed(seed)
    return {key: torch.rand_like(value) if value.is_floating_point() else value + seed
            for key, value in encoder().state_dict().items()}  # fmt: skip


def pth(content: object, **flags: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **flags)  # type: ignore[arg-type]
    return stream.getvalue()


def zipped(pickled: bytes, compression: int = ZIP_STORED) -> bytes:
    """A .pth file with a pickle of one's own."""
    stream = io.BytesIO()
    with ZipFile(stream, "w", compression) as archive:
        for name, content in (("data.pkl", pickled), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"a/{name}", content)
    return stream.getvalue()


def deflated(content: bytes) -> bytes:
    stream = io.BytesIO()
    with ZipFile(io.BytesIO(content)) as old, ZipFile(stream, "w", ZIP_DEFLATED) as new:
        for item in old.infolist():
            new.writestr(item.filename, old.read(item))
    return stream.getvalue()


def attempt(folder: Path, suffix: str, content: bytes, expected: State | None) -> None:
    """Load `content`; what is loaded must be `expected`, and what is refused must leave the encoder alone.

    Without `expected` it is what NumPy reads in the file, where that is finite.
    """
    path, network = folder / f"w.{suffix}", encoder()
    path.write_bytes(content)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    try:
        report = load_encoder_weights(network, path)
    except SalternError:
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items()), "half loaded"
        raise
    finally:
        assert not (folder / "run").exists(), "code in the file was run"
    found = expected if expected is not None else by_numpy(content)
    for key, value in network.state_dict().items():
        wanted = found[key].to(value.dtype) if key in report.matched else before[key]
        assert torch.equal(value, wanted), key
        assert value.isfinite().all(), key
        assert not key.endswith("running_var") or value.min() >= 0


def by_numpy(content: bytes) -> State:
    """The tensors of a safetensors file, read by its published layout."""
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    kinds = {"F32": np.float32, "I64": np.int64, "F64": np.float64, "F16": np.float16}
    return {
        key: torch.from_numpy(np.frombuffer(body[slice(*item["data_offsets"])], kinds[item["dtype"]]).copy()).reshape(
            item["shape"]
        )
        for key, item in header.items()
        if key != "__metadata__" and item["dtype"] in kinds
    }


class Runs:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path, by: Callable[..., object]) -> None:
        self.call = by, (str(path),)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return self.call


def hostile_pickles(folder: Path, good: State) -> dict[str, bytes]:
    run = folder / "run"
    evil = {
        "mkdir": Runs(run, os.mkdir),
        "open": Runs(run, partial(open, mode="w")),
        "eval": Runs(Path(f"open({str(run)!r}, 'w')"), eval),
        "system": Runs(Path(f"touch {run}"), os.system),
    }
    found = {}
    for what, thing in evil.items():
        for flag, flags in FLAGS.items():
            found[f"{what}, {flag}"] = pth({**good, "more": thing}, **flags)
        found[f"{what}, alone"] = pickle.dumps(thing)
        found[f"{what}, after the tensors"] = pth(good, **FLAGS["old format"]) + pickle.dumps(thing)
    by_hand = {
        "system by hand": b"cposix\nsystem\n(V" + f"touch {run}".encode() + b"\ntR.",
        "bytearray of 2 GB": b"\x80\x02cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR.",
        "a long of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "nested": b"\x80\x02" + b"(" * 10**5 + b"t" * 10**5 + b".",
        "torch.hub.load": b"\x80\x02ctorch.hub\nload\n(X\x01\x00\x00\x00at\x52.",
        "torch.load": b"\x80\x02ctorch\nload\n(X\x01\x00\x00\x00at\x52.",
        "nothing": b"",
        "no end": b"\x80\x02}",
    }
    found |= {f"{what}, zip": zipped(content) for what, content in by_hand.items()}
    return found | {f"{what}, plain": content for what, content in by_hand.items()}


def wrong_states(good: State) -> dict[str, State]:
    """States of which no value may reach the encoder."""
    weight = good["0.weight"]
    changes = {
        "nan": weight.clone().fill_(torch.nan), "one inf": weight.clone().index_fill_(0, torch.tensor([1]), torch.inf),
        "ints": weight.int(), "int8": weight.char(), "bool": weight.bool(), "complex": weight.to(torch.complex64),
        "past float32": weight.double() * 1e300, "meta": weight.to("meta"), "sparse": weight.to_sparse(),
        "quantised": torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
    }  # fmt: skip
    found = {what: {**good, "0.weight": tensor} for what, tensor in changes.items()}
    variance = good["1.running_var"].clone()
    variance[2] = -1e-9
    found["a negative variance"] = {**good, "1.running_var": variance}
    found["a float counter"] = {**good, "1.num_batches_tracked": torch.tensor(1.5)}
    found["a bias alone"] = {"0.bias": good["0.bias"]}
    found["no tensors"] = {}
    found["another network"] = {"blocks.0.weight": weight}
    return found


def right_states(good: State) -> dict[str, State]:
    return {
        "as it is": good,
        "half": {key: value.half() if value.is_floating_point() else value for key, value in good.items()},
        "double": {key: value.double() if value.is_floating_point() else value for key, value in good.items()},
        "int counter": {**good, "1.num_batches_tracked": good["1.num_batches_tracked"].int()},
        "not contiguous": {**good, "0.weight": good["0.weight"].transpose(2, 3).contiguous().transpose(2, 3)},
        "another shape": {**good, "0.bias": torch.ones(5)},
        "without a bias": {key: value for key, value in good.items() if key != "0.bias"},
        "a strange one that does not fit": {**good, "fc.weight": torch.full((3, 3), torch.nan)},
    }


def headers(good: State) -> dict[str, bytes]:
    """safetensors files whose header lies."""
    content = save(good)
    (length,) = struct.unpack("<Q", content[:8])
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]

    def spoiled(**change: object) -> bytes:
        text = json.dumps({**header, "0.weight": {**header["0.weight"], **change}}).encode()
        return struct.pack("<Q", len(text)) + text + body

    lengths = {f"length {n}": struct.pack("<Q", n) + content[8:] for n in (0, 1, length - 1, 2**31, 2**63, 2**64 - 1)}
    fields: dict[str, dict[str, object]] = {
        "huge shape": {"shape": [2**31, 2**31, 2**31]}, "shape past 64 bits": {"shape": [2**70]},
        "negative shape": {"shape": [-4, 3, 3, 3]}, "shape of words": {"shape": ["4"]}, "no shape": {"shape": None},
        "another shape": {"shape": [4, 3, 3]}, "unknown type": {"dtype": "F31"}, "wider type": {"dtype": "F64"},
        "outside": {"data_offsets": [0, 10**9]}, "backwards": {"data_offsets": [400, 0]},
        "negative offset": {"data_offsets": [-8, 424]}, "overlap": {"data_offsets": [8, 440]},
    }  # fmt: skip
    texts = {
        "nested": b'{"a":' * 10**5, "a list": b"[]", "a word": b"nan", "empty": b"{}", "not UTF-8": b'{"\xff": 1}',
        "numbers": b'{"a": 1}', "a name twice": b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, ' * 9,
    }  # fmt: skip
    return {
        **lengths,
        **{what: spoiled(**change) for what, change in fields.items()},
        **{what: struct.pack("<Q", len(text)) + text + body for what, text in texts.items()},
        "nothing": b"",
        "too much": content + b"more",
    }


@pytest.fixture(autouse=True)
def quiet() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of pickles that it then refuses, and of sparse tensors
        yield


def test_what_a_state_holds_is_loaded_or_refused(tmp_path: Path, tally: Callable[[str], Tally], scale: int) -> None:
    family = tally("weights (states)")
    for seed in range(scale):
        for what, content in right_states(state(seed)).items():
            for suffix, packed in (
                ("safetensors", save({key: value.contiguous() for key, value in content.items()})),
                *(("pth", pth(content, **FLAGS[flag])) for flag in ("zip", "old format")),
                ("pth", pth({"state_dict": {f"module.encoder.{key}": v for key, v in content.items()}, "epoch": 3})),
            ):
                work = partial(attempt, tmp_path, suffix, packed, content)
                assert family.attempt(f"{what}, {suffix}, seed {seed}", work) == "right", what
        for what, content in wrong_states(state(seed)).items():
            packs = [("pth", pth(content))]
            if what not in ("meta", "sparse", "quantised"):
                packs.append(("safetensors", save(content)))
            for suffix, packed in packs:
                work = partial(attempt, tmp_path, suffix, packed, content)
                assert family.attempt(f"{what}, {suffix}, seed {seed}", work) == "refused", what


def test_no_pickle_is_run(tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    family, good = tally("weights (pickles)"), state(0)
    for what, content in hostile_pickles(tmp_path, good).items():
        outcome = family.attempt(what, partial(attempt, tmp_path, "pth", content, good))
        assert outcome == ("right" if "after the tensors" in what else "refused"), what  # there nothing is read
        assert family.attempt(what, partial(attempt, tmp_path, "safetensors", content, good)) == "refused", what
    assert family.attempt("compressed", partial(attempt, tmp_path, "pth", deflated(pth(good)), good)) == "refused"
    script = torch.jit.script(encoder())
    script.save(tmp_path / "script.pth")
    script_bytes = (tmp_path / "script.pth").read_bytes()
    assert family.attempt("TorchScript", partial(attempt, tmp_path, "pth", script_bytes, good)) == "refused"
    for what, thing in {"a network": encoder(), "a list": [*good.values()], "NumPy": {"a": np.ones(3)}, "5": 5}.items():
        assert family.attempt(what, partial(attempt, tmp_path, "pth", pth(thing), good)) == "refused", what


def test_a_header_that_lies_is_refused(tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    family = tally("weights (headers)")
    for what, content in headers(state(0)).items():
        assert family.attempt(what, partial(attempt, tmp_path, "safetensors", content, None)) == "refused", what


def test_a_damaged_file_is_refused_or_read_as_it_is(tmp_path: Path, tally: Callable[[str], Tally], scale: int) -> None:
    """Cut short, it is refused. safetensors have no sum: a flipped bit in them is what the file says."""
    family, rng = tally("weights (damage)"), np.random.default_rng(0)
    good = state(0)
    files = {"safetensors": save(good), "pth": pth(good)}
    for number in range(20 * scale):
        for suffix, content in files.items():
            cut = content[: rng.integers(len(content))]
            work = partial(attempt, tmp_path, suffix, cut, good)
            assert family.attempt(f"{suffix} cut at {len(cut)}", work) == "refused"
            place, bit = int(rng.integers(len(content))), int(rng.integers(8))
            flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
            work = partial(attempt, tmp_path, suffix, flipped, None if suffix == "safetensors" else good)
            family.attempt(f"{suffix}, bit {bit} of byte {place} flipped, {number}", work)
