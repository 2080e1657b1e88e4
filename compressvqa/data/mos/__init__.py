"""Data sets of scored videos and images: one manifest, readers of the layouts that data sets are published in."""

from compressvqa.data.mos.manifest import Item, Manifest

__all__ = ["Item", "Manifest"]
