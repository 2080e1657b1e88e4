"""Patterns that name modules by their paths."""

from __future__ import annotations

import fnmatch


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern names a module path: itself, a parent of it, or a shell pattern of either."""
    if path == pattern or path.startswith(f"{pattern}."):
        return True
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"{pattern}.*")
