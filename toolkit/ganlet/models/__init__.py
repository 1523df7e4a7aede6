"""Networks: one file a family, `families.FAMILIES` lists them. A network is its config (widths) and nothing else."""
