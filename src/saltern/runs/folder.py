"""Every file name inside a run folder."""

from dataclasses import dataclass
from pathlib import Path

from saltern.config import ALL_IMAGES
from saltern.errors import ConfigError
from saltern.files import delete

FoldName = int | str
"""The number of a fold, or ALL_IMAGES."""


@dataclass(frozen=True)
class FoldDir:
    """The folder of one trained fold, or of the network of all images."""

    path: Path

    @property
    def number(self) -> FoldName:
        """Which fold it is."""
        name = self.path.name.removeprefix("fold_")
        return int(name) if name.isdecimal() else name

    @property
    def best(self) -> Path:
        """Weights with the best validation score, once the training is complete."""
        return self.path / "best.safetensors"

    def best_of(self, epoch: int) -> Path:
        """The same while training goes on: those of `epoch`, which a checkpoint means by this name."""
        return self.path / f"best_{epoch:05d}.safetensors"

    def bests(self) -> list[Path]:
        """The best weights of epochs, whether a checkpoint means them or not."""
        return sorted(self.path.glob("best_[0-9]*.safetensors"))

    def of_epoch(self, epoch: int) -> Path:
        """Weights of `epoch` that may become part of the average, which a checkpoint means by this name."""
        return self.path / f"epoch_{epoch:05d}.safetensors"

    def epochs(self) -> list[Path]:
        """The same of all epochs, whether a checkpoint means them or not."""
        return sorted(self.path.glob("epoch_[0-9]*.safetensors"))

    @property
    def average(self) -> Path:
        """The mean of the weights of several epochs, where `trainer.keep` is average."""
        return self.path / "average.safetensors"

    @property
    def last_weights(self) -> Path:
        """Weights after the last epoch, where `trainer.keep` is last, or no score says which were the best."""
        return self.path / "last.safetensors"

    def snapshot(self, phase: str, cycle: int) -> Path:
        """Weights at the end of a cosine cycle."""
        return self.path / f"snapshot_{phase}_{cycle}.safetensors"

    def weights(self) -> list[Path]:
        """The weights that predict: snapshots, the average, or the last where such are kept, else the best."""
        snapshots = sorted(self.path.glob("snapshot_*.safetensors"))
        kept = [path for path in (self.average, self.last_weights) if path.exists()]
        return snapshots or [*kept, self.best][:1]

    @property
    def last(self) -> Path:
        """The resumable state after the last finished epoch."""
        return self.path / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The state an epoch earlier, in case the last one is damaged; gone once the training is complete."""
        return self.path / "previous.ckpt"

    def broken_batch(self, rank: int) -> Path:
        """The batch whose loss was not finite, on the process `rank`."""
        return self.path / f"broken_batch_{rank}.safetensors"

    @property
    def encoder_weights(self) -> Path:
        """Where the encoder began from a file: which of its keys were matched, missing, unexpected."""
        return self.path / "encoder_weights.json"

    @property
    def metrics(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    @property
    def val_counts(self) -> Path:
        """The pixel counts of every validation image after every epoch; none where no image is held out."""
        return self.path / "val_counts.safetensors"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.path / "tensorboard"

    @property
    def done(self) -> Path:
        """Written last: the fold's training and its out-of-fold probabilities are complete."""
        return self.path / "done.json"


@dataclass(frozen=True)
class RunDir:
    """`outputs/<name>/`: the one place that knows what is called what."""

    path: Path

    @classmethod
    def of(cls, outputs: str | Path, name: str) -> "RunDir":
        """The folder of the run `name`, which must lie inside `outputs`.

        Raises:
            ConfigError: an empty name, or one that would leave `outputs`.
        """
        root = Path(outputs).expanduser().resolve()
        if root.exists() and not root.is_dir():
            raise ConfigError(f"outputs={outputs}: is a file; expected a folder for runs, or a new one.")
        path = (root / name).resolve() if name else root
        if path == root or root not in path.parents:
            raise ConfigError(
                f"name={name!r}: the run folder would be {path}, outside {root}; "
                "expected a plain name such as name=try1."
            )
        return cls(path)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def file(self, name: str) -> Path:
        """A file directly in the run folder."""
        return self.path / name

    @property
    def config(self) -> Path:
        """The frozen configuration."""
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        """Versions, devices, and the overrides the run was made with."""
        return self.path / "environment.json"

    @property
    def dataset_report(self) -> Path:
        """What `check` found."""
        return self.path / "dataset_report.json"

    @property
    def dataset_page(self) -> Path:
        """The same as a page, with a picture of every suspect."""
        return self.path / "dataset_report.html"

    @property
    def holds(self) -> Path:
        """The folder of marks that say which process works on what."""
        return self.path / ".held"

    def is_fresh(self) -> bool:
        """Whether no run has begun: at most the data set's report and what precedes `folds.csv` lie there."""
        before = {self.folds_report, self.mosaics, self.groups}
        kept = {self.dataset_report, self.dataset_page, self.environment, self.config, *before}
        items = list(self.path.iterdir()) if self.path.exists() else []
        return all(item in kept or item.suffix == ".tmp" or item == self.holds for item in items)

    def seal(self, stage: str) -> Path:
        """Written last by a stage: what it wrote, and what that was made of."""
        return self.path / "done" / f"{stage}.json"

    @property
    def folds(self) -> Path:
        """The split: id, fold."""
        return self.path / "folds.csv"

    @property
    def groups(self) -> Path:
        """Which images belong together: id, group; no such file where there are no groups."""
        return self.path / "groups.csv"

    @property
    def folds_report(self) -> Path:
        """What the split was verified for: coverage per fold, leaks."""
        return self.path / "folds.json"

    @property
    def mosaics(self) -> Path:
        """For folds by adjacency: the largest mosaics that were found."""
        return self.path / "mosaics.png"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files of the whole run: settings and final scores."""
        return self.path / "tensorboard"

    @property
    def oof(self) -> Path:
        """Out-of-fold probabilities."""
        return self.path / "oof"

    @property
    def test(self) -> Path:
        """Test probabilities."""
        return self.path / "test"

    @property
    def ensemble(self) -> Path:
        """The seal of a run that is the mean of others: its members, and their state when they were averaged."""
        return self.path / "ensemble.json"

    @property
    def decision(self) -> Path:
        """Threshold, minimum area, gate."""
        return self.path / "decision.json"

    @property
    def oof_scores(self) -> Path:
        """One row a labelled image."""
        return self.path / "oof_scores.csv"

    @property
    def truth(self) -> Path:
        """Hashes of what each out-of-fold image was scored on: its truth, and its file."""
        return self.path / "truth.csv"

    @property
    def oof_nested(self) -> Path:
        """The same, each image at a decision that was tuned without it."""
        return self.path / "oof_nested.csv"

    @property
    def seeds(self) -> Path:
        """How far the score moves where the run is trained again with other seeds."""
        return self.path / "seeds.json"

    @property
    def scores(self) -> Path:
        """Scores per fold, pooled, nested."""
        return self.path / "scores.json"

    @property
    def submission(self) -> Path:
        """The proven CSV."""
        return self.path / "submission.csv"

    @property
    def resemblance(self) -> Path:
        """What the decision paints on the test beside what it paints out of fold."""
        return self.path / "resemblance.json"

    @property
    def voc_results(self) -> Path:
        """VOC result PNGs, in the tree that VOC's server expects."""
        return self.path / "results" / "VOC2012" / "Segmentation" / "comp6_test_cls"

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.path / "report.html"

    @property
    def report_tiles(self) -> Path:
        """Pictures of a page that would be too heavy with them, in files beside it; no such folder for most runs."""
        return self.path / "report_tiles"

    def fold(self, number: FoldName) -> FoldDir:
        """The folder of one fold, or of the network of all images."""
        return FoldDir(self.path / f"fold_{number}")

    @property
    def all_images(self) -> FoldDir:
        """The folder of the network of all images."""
        return self.fold(ALL_IMAGES)

    def begun_folds(self) -> list[FoldDir]:
        """The folders of folds, trained to their end or not, and of the network of all images."""
        folds = [FoldDir(path) for path in sorted(self.path.glob("fold_*"))]
        return [fold for fold in folds if isinstance(fold.number, int) or fold == self.all_images]

    def sealed_folds(self) -> list[int]:
        """Numbers of the folds that say that their training is complete, ascending; never the network of all images."""
        names = [done.parent.name.removeprefix("fold_") for done in self.path.glob("fold_*/done.json")]
        return sorted(int(name) for name in names if name.isdecimal())

    def clear(self) -> None:
        """Delete all that the run folder holds, except the marks of who works on it."""
        for item in list(self.path.iterdir()) if self.path.exists() else []:
            if item != self.holds:
                delete(item)
