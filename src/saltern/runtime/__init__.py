"""The hardware that a run computes on, and the processes that compute it together."""

from saltern.runtime.group import Group
from saltern.runtime.hardware import Runtime, environment, seed_all, start

__all__ = ["Group", "Runtime", "environment", "seed_all", "start"]
