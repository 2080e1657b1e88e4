"""The parts of robustness.py: conditions and their references, scores of them, what is counted, the tables."""
