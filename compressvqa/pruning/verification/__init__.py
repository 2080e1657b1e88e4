"""Whether a network is another one with channels zeroed, whoever pruned it: two networks in, a `Verification` out.

locate (a tensor in a larger one) -> correspondence (all tensors) -> doubt (what values leave open) -> zeroed, norms
(the reference) -> trials, comparison, proof (both side by side) -> power -> verify
"""

from compressvqa.pruning.verification.result import Verification
from compressvqa.pruning.verification.verify import verify

__all__ = ["Verification", "verify"]
