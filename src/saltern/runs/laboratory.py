"""Every file name inside the folder of a loss laboratory."""

from dataclasses import dataclass
from pathlib import Path

from saltern.runs.folder import RunDir


@dataclass(frozen=True)
class LaboratoryDir:
    """`outputs/losses/<name>/`."""

    path: Path

    @classmethod
    def of(cls, outputs: str, name: str) -> "LaboratoryDir":
        """The folder of the laboratory `name`; errors as in `RunDir.of`."""
        return cls(RunDir.of(Path(outputs) / "losses", name).path)

    @property
    def mark(self) -> Path:
        """Says which process works on it."""
        return self.path / ".held" / "laboratory"

    @property
    def asked(self) -> Path:
        """What it was begun with: its losses, seeds, folds and search."""
        return self.path / "laboratory.json"

    @property
    def recipe(self) -> Path:
        """A run that is divided and never trained: the recipe and the folds that all share."""
        return self.path / "recipe"

    @property
    def rates(self) -> Path:
        """What the search found for each loss."""
        return self.path / "rates.json"

    @property
    def runs(self) -> Path:
        """The runs that are compared, as an `outputs` of its own: `<loss>_seed<s>`."""
        return self.path / "runs"

    @property
    def search(self) -> Path:
        """The short runs of the search: `<loss>_rate<factor>`."""
        return self.path / "search"

    @property
    def table(self) -> Path:
        """A row a loss."""
        return self.path / "table.csv"

    @property
    def report(self) -> Path:
        """The self-contained page."""
        return self.path / "report.html"
