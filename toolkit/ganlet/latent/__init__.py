"""What a generator's latents mean: so far, what its pictures have next to them in the training data."""

from ganlet.latent.neighbours import Memorisation, flattened, memorisation, neighbours_sheet, rms_unit

__all__ = ["Memorisation", "flattened", "memorisation", "neighbours_sheet", "rms_unit"]
