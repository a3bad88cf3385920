"""Layouts of a data set on disk; `LAYOUTS` names them, `open_dataset` reads one."""
