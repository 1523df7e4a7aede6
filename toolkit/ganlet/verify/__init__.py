"""Whether the exported file keeps its promises: parity, fidelity, budgets."""

from ganlet.verify.verdict import stages_with_teacher, verification_key, verify_run

__all__ = ["stages_with_teacher", "verification_key", "verify_run"]
