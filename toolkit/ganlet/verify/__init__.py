"""Whether the exported file keeps its promises: parity, fidelity, budgets."""

from ganlet.verify.enough import warn_if_too_few
from ganlet.verify.verdict import stages_with_teacher, verification_key, verify_run
from ganlet.verify.watch import DistanceToData

__all__ = ["DistanceToData", "stages_with_teacher", "verification_key", "verify_run", "warn_if_too_few"]
