"""What is wrong with a submission: kind by kind, so that one fault in every row does not hide the others."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One problem."""

    line: int | None
    """Of the file, from 1; None where it is about no line of it."""
    severity: Severity
    kind: str
    """A plural noun phrase, such as `duplicate ids`."""
    text: str


@dataclass
class Findings:
    """The first problems of each kind, and the number of all."""

    most: int
    """Problems of a kind that are kept."""
    kept: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[Severity, str]] = field(default_factory=Counter)
    """Severity and kind → how many there are."""

    def error(self, line: int | None, kind: str, text: str) -> None:
        """Note what makes the file unfit."""
        self._add(Finding(line, "error", kind, text))

    def warning(self, line: int | None, kind: str, text: str) -> None:
        """Note what some reader may stumble over."""
        self._add(Finding(line, "warning", kind, text))

    def _add(self, finding: Finding) -> None:
        key = (finding.severity, finding.kind)
        self.counts[key] += 1
        if self.counts[key] <= self.most:
            self.kept.append(finding)

    def count(self, severity: Severity) -> int:
        """How many problems of `severity` there are."""
        return sum(number for (found, _), number in self.counts.items() if found == severity)

    def in_order(self) -> list[Finding]:
        """Those that are kept, by line; what is about no line comes last."""
        return sorted(self.kept, key=lambda item: (item.line is None, item.line or 0))

    def unshown(self) -> list[str]:
        """A sentence for each kind of which some are counted only."""
        return [
            f"{number - self.most:,} more {kind} ({number:,} in all)"
            for (_, kind), number in self.counts.items()
            if number > self.most
        ]
