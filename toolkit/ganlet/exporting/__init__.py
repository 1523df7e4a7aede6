"""From a stage to files that a device runs: `TARGETS` is the one list of what can be made."""

from ganlet.exporting.targets import TARGETS, check_exports, export_recipe, export_source
from ganlet.exporting.wish import Wish

__all__ = ["TARGETS", "Wish", "check_exports", "export_recipe", "export_source"]
