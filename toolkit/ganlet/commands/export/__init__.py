"""From a stage to files that a device runs: `TARGETS` is the one list of what can be made."""

from ganlet.commands.export.options import ExportOptions
from ganlet.commands.export.targets import TARGETS, check_exports, export_recipe, export_source

__all__ = ["TARGETS", "ExportOptions", "check_exports", "export_recipe", "export_source"]
