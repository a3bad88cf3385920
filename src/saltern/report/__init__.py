"""Reads artifacts, never models; writes tables, figures and self-contained pages."""
