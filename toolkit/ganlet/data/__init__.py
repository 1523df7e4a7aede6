"""Pictures to train on: decoded once into a uint8 memory map, handed out as endless seeded batches."""

from ganlet.data.batches import Batch, Batches
from ganlet.data.labels import require_classes
from ganlet.data.load import load_pictures
from ganlet.data.pictures import PictureSet
from ganlet.data.writer import write_folder

__all__ = ["Batch", "Batches", "PictureSet", "load_pictures", "require_classes", "write_folder"]
