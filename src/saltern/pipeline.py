"""One function per stage."""
