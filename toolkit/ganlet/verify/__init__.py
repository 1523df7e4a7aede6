"""Whether the exported file keeps its promises: parity, fidelity, budgets."""

from ganlet.verify.verdict import stages_with_teacher, verification_key, verify_run
from ganlet.verify.watch import distance_to_data

__all__ = ["distance_to_data", "stages_with_teacher", "verification_key", "verify_run"]
