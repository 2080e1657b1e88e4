"""The parts of prune_coverage.py: which networks, what is measured, how torch-pruning is judged, and the tables."""
