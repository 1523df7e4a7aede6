"""`ganlet bench`: every artefact on every runtime at every batch, in interleaved rounds on this machine."""

from ganlet.benching.plan import Settings, parse_batches, subjects_of
from ganlet.benching.run import bench, measure_subjects
from ganlet.benching.table import notes, rows_table

__all__ = ["Settings", "bench", "measure_subjects", "notes", "parse_batches", "rows_table", "subjects_of"]
