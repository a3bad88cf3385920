"""Divide the images into folds, keep together what belongs together, and verify it."""
