"""Networks by name, and encoder weights from local files."""
