"""From an archive, downloaded or not, to a layout on disk."""
