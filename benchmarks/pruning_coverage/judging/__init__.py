"""An independent judge of pruning: is a smaller network the original with channels set to zero, whoever pruned it?

It shares no code with the pruner and asks it nothing. `values` gives every weight its own value, `found_again` finds
those that are left, `statistics` has the one convention, `traces` sees what was changed on the way, and `judge` runs
both networks side by side.
"""

from pruning_coverage.judging.found_again import UnjudgedError, kept_elements
from pruning_coverage.judging.judge import Call, Judgement, judge
from pruning_coverage.judging.traces import Snapshot
from pruning_coverage.judging.values import distinct, settle

__all__ = ["Call", "Judgement", "Snapshot", "UnjudgedError", "distinct", "judge", "kept_elements", "settle"]
