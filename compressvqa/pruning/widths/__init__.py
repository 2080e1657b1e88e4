"""How wide every group becomes: costs, budgets, allocations, rounding, latency."""
