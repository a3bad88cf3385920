"""Layouts, checks, folds, geometry, augmentation, loading: from files to batches."""
