"""Probabilities on disk: float16 at native size, keyed by id, in safetensors shards that are mapped when read."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from saltern.errors import RunError
from saltern.files import atomic

Probs = NDArray[np.float16]


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
        """Store `probs` (height, width), values in [0, 1], under `id`, which must be new to this shard."""
        assert id not in self._open, f"{id} is stored twice"
        self._open[id] = np.ascontiguousarray(probs, dtype=np.float16)
        self._size += self._open[id].nbytes
        if self._size >= self.limit:
            self._flush()

    def _flush(self) -> None:
        if not self._open:
            return
        with atomic(self.folder / f"{self.prefix}_{self._shards:05d}.safetensors") as temporary:
            save_file(self._open, temporary)
        self._open, self._size, self._shards = {}, 0, self._shards + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()


class ProbStore:
    """All shards of a folder as one read-only mapping from id to probabilities.

    Raises:
        RunError: no shards, one that cannot be read, or an id that stands in two of them.
    """

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        self.folder = folder
        self._where: dict[str, Path] = {}
        self._handles: dict[Path, safe_open] = {}
        shards = sorted(folder.glob(f"{pattern}.safetensors"))
        if not shards:
            raise RunError(f"{folder}: holds no stored probabilities; run the stage that predicts them first.")
        for shard in shards:
            try:
                handle = safe_open(shard, framework="numpy")
            except (SafetensorError, OSError) as error:
                raise RunError(f"{shard}: not readable ({error}); delete it and predict again.") from error
            self._handles[shard] = handle
            for id in handle.keys():  # noqa: SIM118 (no mapping)
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
            RunError: nothing is stored under `id`.
        """
        if id not in self._where:
            raise RunError(f"{self.folder}: nothing is stored for the id {id!r}; predict again.")
        probs: Probs = self._handles[self._where[id]].get_tensor(id)
        return probs
