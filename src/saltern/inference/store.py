"""Probabilities on disk: float16 at native size, keyed by id, in safetensors shards that are mapped when read."""

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from saltern.errors import RunError
from saltern.files import atomic

Probs = NDArray[np.float16]

MOST_OPEN = 8
"""Shards that a store keeps open."""


def clear_shards(folder: Path, prefix: str = "") -> None:
    """Delete the shards whose name begins with `prefix`, before they are written anew."""
    for shard in folder.glob(f"{prefix}*.safetensors"):
        shard.unlink()


class ProbWriter:
    """Writes shards `<prefix>_<n>.safetensors` of about `shard_mb` megabytes each; use as a context.

    Nothing but one shard is held in memory. Shards of an earlier, interrupted writer stay: see `clear_shards`.
    """

    def __init__(self, folder: Path, prefix: str, shard_mb: int) -> None:
        self.folder = folder
        self.prefix = prefix
        self.limit = shard_mb * 2**20
        self._open: dict[str, Probs] = {}
        self._size = 0
        self._shards = 0

    def __enter__(self) -> "ProbWriter":
        return self

    def add(self, id: str, probs: NDArray[np.floating]) -> None:
        """Store `probs` (height, width), values in [0, 1], under `id`, which must be new to this shard.

        Raises:
            RunError: probabilities that are not finite.
        """
        assert id not in self._open, f"{id} is stored twice"
        if not np.isfinite(probs).all():
            raise RunError(
                f"{self.folder}: the probabilities of {id!r} are not finite, so the weights have diverged; train the "
                "fold again with trainer.precision=fp32 or a lower lr."
            )
        self._open[id] = np.ascontiguousarray(probs, dtype=np.float16)
        self._size += self._open[id].nbytes
        if self._size >= self.limit:
            self._flush()

    def _flush(self) -> None:
        if not self._open:
            return
        with atomic(self.folder / f"{self.prefix}_{self._shards:05d}.safetensors") as temporary:
            temporary.write_bytes(save(self._open))  # by Python, so that an error of the disk is an OSError
        self._open, self._size, self._shards = {}, 0, self._shards + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()


class ProbStore:
    """All shards of a folder as one read-only mapping from id to probabilities; few shards are open at a time.

    Raises:
        RunError: no shards, one that cannot be read, or an id that stands in two of them.
    """

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        self.folder = folder
        self._where: dict[str, Path] = {}
        self._opened: OrderedDict[Path, safe_open] = OrderedDict()
        shards = sorted(folder.glob(f"{pattern}.safetensors"))
        if not shards:
            raise RunError(f"{folder}: holds no stored probabilities; run the stage that predicts them first.")
        for shard in shards:
            for id in self._handle(shard).keys():  # noqa: SIM118 (no mapping)
                if id in self._where:
                    raise RunError(f"{shard}: {id} also stands in {self._where[id].name}; delete one of the two.")
                self._where[id] = shard

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, id: object) -> bool:
        return id in self._where

    def __iter__(self) -> Iterator[str]:
        """Ids, shard by shard, so that reading in this order touches each shard once."""
        return iter(self._where)

    def __getitem__(self, id: str) -> Probs:
        """Probabilities (height, width) of `id`, float16.

        Raises:
            RunError: nothing is stored under `id`, or its shard can no longer be read.
        """
        if id not in self._where:
            raise RunError(f"{self.folder}: nothing is stored for the id {id!r}; {_mend(self.folder)}.")
        probs: Probs = self._handle(self._where[id]).get_tensor(id)
        return probs

    def _handle(self, shard: Path) -> safe_open:
        """The open shard; the one that was not used for longest is closed."""
        if shard in self._opened:
            self._opened.move_to_end(shard)
            return self._opened[shard]
        try:
            self._opened[shard] = safe_open(shard, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise RunError(f"{shard}: not readable ({error}); {_mend(self.folder)}.") from error
        if len(self._opened) > MOST_OPEN:
            self._opened.popitem(last=False)
        return self._opened[shard]


def _mend(folder: Path) -> str:
    if folder.name == "oof":
        return "delete the fold_*/done.json of its fold and run `make train` to have them stored again"
    return "delete the folder and run `make predict` again"
