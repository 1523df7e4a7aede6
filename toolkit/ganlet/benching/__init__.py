"""`ganlet bench`: every artefact on every runtime at every batch, in interleaved rounds on this machine."""

from ganlet.benching.plan import Settings, parse_batches
from ganlet.benching.run import bench
from ganlet.benching.table import notes, rows_table

__all__ = ["Settings", "bench", "notes", "parse_batches", "rows_table"]
