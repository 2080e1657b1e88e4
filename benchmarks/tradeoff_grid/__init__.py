"""The parts of tradeoff.py: which rows there are, the recipe of a row, what rows share, figures, table and plot."""
