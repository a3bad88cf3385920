"""Run folders: what lies where, who works on them, and what of them still holds."""

from saltern.runs.folder import FoldDir, RunDir

__all__ = ["FoldDir", "RunDir"]
