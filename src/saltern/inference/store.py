"""Probabilities on disk: float16 at native size, keyed by id, in safetensors shards that are mapped when read.

Where networks say whether an image holds any foreground, a shard's metadata has that too: under `presence`, as JSON
from id to a number in [0, 1]. Keys of a shard are ids and nothing else.
"""

import json
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
from saltern.inference.predictions import Prediction

Probs = NDArray[np.float16]

PRESENCE = "presence"
"""The key of a shard's metadata."""

MOST_OPEN = 8
"""Shards that a store keeps open."""


def clear_shards(folder: Path, prefix: str = "") -> None:
    """Delete the shards whose name begins with `prefix`, before they are written anew."""
    for shard in folder.glob(f"{prefix}*.safetensors"):
        shard.unlink()


def refuse_not_finite(where: Path, id: str, probs: NDArray[np.floating], presence: float | None) -> None:
    """Raise a RunError where what is said of the image `id` is infinite or NaN."""
    if not (np.isfinite(probs).all() and np.isfinite(0.0 if presence is None else presence)):
        raise RunError(
            f"{where}: the probabilities of {id!r} are not finite, so the weights have diverged; train the "
            "fold again with trainer.precision=fp32 or a lower lr."
        )


class ProbWriter:
    """Writes shards `<prefix>_<n>.safetensors` of about `shard_mb` megabytes each; use as a context.

    Nothing but one shard is held in memory. Shards of an earlier, interrupted writer stay: see `clear_shards`.
    """

    def __init__(self, folder: Path, prefix: str, shard_mb: int) -> None:
        self.folder = folder
        self.prefix = prefix
        self.limit = shard_mb * 2**20
        self._open: dict[str, Probs] = {}
        self._presence: dict[str, float] = {}
        self._size = 0
        self._shards = 0

    def __enter__(self) -> "ProbWriter":
        return self

    def add(self, id: str, probs: NDArray[np.floating], presence: float | None = None) -> None:
        """Store `probs` (height, width), values in [0, 1], under `id`, which must be new to this shard.

        `presence`: the probability that the image holds any foreground; for every image or for none.

        Raises:
            RunError: probabilities that are not finite.
        """
        assert id not in self._open, f"{id} is stored twice"
        assert (presence is None) or len(self._presence) == len(self._open), f"presence of {id}, but not of others"
        assert (presence is not None) or not self._presence, f"no presence of {id}, but of others"
        refuse_not_finite(self.folder, id, probs, presence)
        self._open[id] = np.ascontiguousarray(probs, dtype=np.float16)
        if presence is not None:
            self._presence[id] = presence
        self._size += self._open[id].nbytes
        if self._size >= self.limit:
            self._flush()

    def _flush(self) -> None:
        if not self._open:
            return
        with atomic(self.folder / f"{self.prefix}_{self._shards:05d}.safetensors") as temporary:
            metadata = {PRESENCE: json.dumps(self._presence)} if self._presence else None
            temporary.write_bytes(save(self._open, metadata))  # by Python, so that an error of the disk is an OSError
        self._open, self._presence, self._size, self._shards = {}, {}, 0, self._shards + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()


class ProbStore:
    """All shards of a folder as one read-only mapping from id to probabilities; few shards are open at a time.

    Raises:
        RunError: no shards, one that cannot be read, or an id that stands in two of them; presence that is stored for
            some images alone, or is no probability.
    """

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        self.folder = folder
        self._where: dict[str, Path] = {}
        self._presence: dict[str, float] = {}
        self._opened: OrderedDict[Path, safe_open] = OrderedDict()
        shards = sorted(folder.glob(f"{pattern}.safetensors"))
        if not shards:
            raise RunError(f"{folder}: holds no stored probabilities; run the stage that predicts them first.")
        for shard in shards:
            for id in self._handle(shard).keys():  # noqa: SIM118 (no mapping)
                if id in self._where:
                    raise RunError(f"{shard}: {id} also stands in {self._where[id].name}; delete one of the two.")
                self._where[id] = shard
            self._presence |= self._presence_in(shard)
        if self._presence and len(self._presence) < len(self._where):
            without = next(id for id in self._where if id not in self._presence)
            raise RunError(f"{self._where[without]}: stores no presence, but others do; {_mend(folder)}.")

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
        probs: Probs = self._handle(self._shard_of(id)).get_tensor(id)
        return probs

    def _shard_of(self, id: str) -> Path:
        if id not in self._where:
            raise RunError(f"{self.folder}: nothing is stored for the id {id!r}; {_mend(self.folder)}.")
        return self._where[id]

    @property
    def has_presence(self) -> bool:
        """Whether it is stored that images hold any foreground; if so, for every image."""
        return bool(self._presence)

    def presence(self, id: str) -> float | None:
        """The probability that the image `id` holds any foreground; None where that is stored for no image.

        Raises:
            RunError: nothing is stored under `id`.
        """
        self._shard_of(id)
        return self._presence[id] if self._presence else None

    def _presence_in(self, shard: Path) -> dict[str, float]:
        """Id → presence of the images of a shard; empty where it stores none."""
        text = (self._handle(shard).metadata() or {}).get(PRESENCE)
        if text is None:
            return {}
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        ids = set(self._handle(shard).keys())
        if not isinstance(content, dict) or not all(map(_probability, content.values())):
            raise RunError(f"{shard}: its presence is no JSON from id to a number from 0 to 1; {_mend(self.folder)}.")
        if set(content) != ids:
            other = min(ids ^ set(content))
            raise RunError(
                f"{shard}: its images and those of its presence differ, such as {other!r}; {_mend(self.folder)}."
            )
        return {id: float(value) for id, value in content.items()}

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


def predictions_in(store: ProbStore) -> Iterator[tuple[str, Prediction]]:
    """(id, what is stored of it), in the order of the store."""
    return ((name, Prediction(store[name], store.presence(name))) for name in store)


def _probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _mend(folder: Path) -> str:
    if folder.name == "oof":
        return "delete the fold_*/done.json of its fold and run `make train` to have them stored again"
    return "delete the folder and run `make predict` again"
