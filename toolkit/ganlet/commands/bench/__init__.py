"""`ganlet bench`: every artifact on every runtime at every batch, in interleaved rounds on this machine."""

from ganlet.commands.bench.plan import Settings, parse_batches, subjects_of
from ganlet.commands.bench.run import bench, measure_subjects
from ganlet.commands.bench.table import notes, rows_table

__all__ = ["Settings", "bench", "measure_subjects", "notes", "parse_batches", "rows_table", "subjects_of"]
