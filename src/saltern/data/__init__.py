"""From files to batches: source, layouts, archives, likeness, folds, check, loading."""
