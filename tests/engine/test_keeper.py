"""What is kept survives damage: a broken checkpoint is replaced by the one before it, weights are those it means."""

import io
import pickle
from pathlib import Path

import pytest
import torch
from fold_runs import Killed, Net, data, fresh, phases, trainer, weights
from torch import nn

from saltern.engine.checkpoint import TrainState, _Spool, load_checkpoint, save_checkpoint
from saltern.engine.keeper import Keeper
from saltern.errors import RunError, StorageError
from saltern.runs import FoldDir


def interrupted(folder: Path, die_in: int) -> FoldDir:
    with pytest.raises(Killed):
        trainer(folder)[0].fit(fresh(), data(die_in=die_in), seed=7)
    return FoldDir(folder)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def alter(content: bytes) -> bytes:
    """One bit of a weight, which torch would read without a word."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, alter, lambda content: b"", lambda content: content + b"x"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    damage: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(damage)
    straight = fresh()
    trainer(tmp_path / "a")[0].fit(straight, data(), seed=7)
    fold = interrupted(tmp_path / "b", die_in=4)
    fold.last.write_bytes(damage(fold.last.read_bytes()))
    continued = Net()
    engine, log = trainer(tmp_path / "b")
    engine.fit(continued, data(), seed=7)
    assert "last.ckpt: not readable as a checkpoint" in caplog.text
    assert "the one before it, of epoch 3, is used" in caplog.text
    assert [row[0] for row in log.rows] == [4, 5]
    assert all(torch.equal(*pair) for pair in zip(weights(straight), weights(continued), strict=True))
    assert fold.best.read_bytes() == FoldDir(tmp_path / "a").best.read_bytes()


def test_the_best_weights_stay_as_long_as_a_checkpoint_means_them(tmp_path: Path) -> None:
    """The phase begins from the best weights of the epoch that the older checkpoint means, whatever came after."""
    fold = interrupted(tmp_path, die_in=3)
    newer, _ = load_checkpoint(fold.last)
    older, _ = load_checkpoint(fold.previous)
    meant = {fold.best_of(state.best_epoch) for state in (newer, older) if state.best_epoch is not None}
    assert set(fold.bests()) == meant
    trainer(tmp_path)[0].fit(Net(), data(), seed=7)
    assert fold.bests() == []
    assert fold.best.exists()
    assert not fold.previous.exists()


def test_two_damaged_checkpoints_and_exchanged_weights_are_refused(tmp_path: Path) -> None:
    fold = interrupted(tmp_path / "a", die_in=3)
    best = fold.bests()[-1]
    best.write_bytes(alter(best.read_bytes()))
    with pytest.raises(RunError, match=r"best_0000\d\.safetensors: was changed, but the checkpoint means it"):
        trainer(tmp_path / "a")[0].fit(Net(), data(), seed=7)
    best.unlink()
    with pytest.raises(RunError, match="is gone, but the checkpoint means it"):
        trainer(tmp_path / "a")[0].fit(Net(), data(), seed=7)
    fold = interrupted(tmp_path / "b", die_in=2)
    for path in (fold.last, fold.previous):
        path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(RunError, match=r"last\.ckpt: not readable .*Delete the fold's folder"):
        trainer(tmp_path / "b")[0].fit(Net(), data(), seed=7)


def test_a_checkpoint_is_still_one_of_torchs_and_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    state = TrainState(epoch=3, best_epoch=2, history=[0.5, 0.75, 0.25])
    save_checkpoint(path, state, {"model": nn.Linear(2, 2).state_dict()})
    assert torch.load(path, weights_only=True)["state"]["history"] == [0.5, 0.75, 0.25]
    assert load_checkpoint(path)[0] == state

    class Planted:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path(tmp_path / "planted").write_text, ("x",)

    save_checkpoint(path, state, {"model": Planted()})  # with a checksum that fits
    with pytest.raises(RunError, match="not readable"):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Planted()))
    with pytest.raises(RunError, match="not readable"):
        load_checkpoint(path)
    assert not (tmp_path / "planted").exists()


def test_a_checkpoint_from_before_the_average_is_read(tmp_path: Path) -> None:
    """Its state lacks the later fields, which then say that there is none."""
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, TrainState(epoch=3, best_epoch=2), {})
    content = torch.load(path, weights_only=True)
    for name in ("kept", "average_epochs", "average_score", "average_digest"):
        del content["state"][name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saltern.engine.checkpoint.asdict", lambda state: content["state"])
        save_checkpoint(path, TrainState(), {})
    assert "kept" not in torch.load(path, weights_only=True)["state"]
    assert load_checkpoint(path)[0] == TrainState(epoch=3, best_epoch=2)


def test_a_full_disk_is_one_line_and_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """/dev/full takes nothing: torch itself would answer with sixty lines."""
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, TrainState(epoch=1), {})
    with pytest.MonkeyPatch.context() as patch:
        opened = Path.open

        def open_full(self: Path, mode: str = "r", *args: object, **kwargs: object) -> object:
            return opened(Path("/dev/full") if "w" in mode else self, mode, *args, **kwargs)  # type: ignore[call-overload]

        patch.setattr(Path, "open", open_full)
        with pytest.raises(StorageError, match=r"last\.ckpt: cannot be written: No space left on device; [\d,]+ bytes"):
            save_checkpoint(path, TrainState(epoch=2), {"model": nn.Linear(300, 300).state_dict()})
    assert load_checkpoint(path)[0].epoch == 1
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]


def test_ctrl_c_while_torch_writes_stays_ctrl_c(tmp_path: Path) -> None:
    """Python answers a signal inside the call that torch's C++ makes to write, which would make an error of its own."""

    class Interrupted(io.BytesIO):
        def write(self, data: object) -> int:
            raise KeyboardInterrupt

    spool = _Spool(Interrupted())
    torch.save({"model": nn.Linear(300, 300).state_dict()}, spool)  # type: ignore[arg-type]
    assert isinstance(spool.error, KeyboardInterrupt)


def test_snapshots_do_not_hide_the_best_weights(tmp_path: Path) -> None:
    schedule = phases(epochs=4, lr_policy="cosine_restarts", cycles=2, snapshots=True)
    trainer(tmp_path, schedule)[0].fit(fresh(), data(), seed=0)
    assert FoldDir(tmp_path).best.exists()
    assert Keeper(FoldDir(tmp_path)).resume() is not None
