"""The stage that teaches a small network what a large one knows."""

from __future__ import annotations
