"""The one door to all data: from the name of a source to a set of decoded pictures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

from ganlet.data.cache import default_cache, open_or_decode
from ganlet.data.digits import digits_decoder
from ganlet.data.embedded import embedded_decoder
from ganlet.data.folder import folder_decoder
from ganlet.data.idx import idx_decoder
from ganlet.data.listing import Intake
from ganlet.data.pictures import Crop, Decoder, PictureSet, Progress, Source
from ganlet.data.values import value_notes
from ganlet.errors import GanletError

MAX_SIZE = 2048


def load_pictures(
    source: Source,
    *,
    path: Path | None = None,
    size: int,
    channels: int,
    crop: Crop = "center",
    skip_bad: bool = False,
    count: int = 10_000,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> PictureSet:
    """Decode a source into (N, channels, size, size) uint8, or open what was decoded before.

    source      "kittens", "monsters", "robots": `count` different pictures composed from robohash's parts, drawn with
                `seed`, on white. "digits": up to 5,000 MNIST digits in a seeded order, with labels (a larger `count`
                means all). "folder": every JPEG, PNG, WebP, BMP, TIFF, GIF and PNM below `path` (of several frames the
                first); first-level sub-folders become labels where every picture lies in one. "idx": the pictures of an
                idx file at `path`, with the labels file beside it. `count` and `seed` mean nothing to the last two,
                `path` nothing to the others.
    crop        of folders and idx files: "center" takes the middle square; "none" squeezes the whole picture into
                the square, changing its proportions; "landmarks" (folders only) takes the square around the points in
                NAME.jpg.cat with a margin of 10 pixels; a square picture without it counts as cropped. Landmarks
                are in stored pixels: the crop comes before the EXIF orientation is applied. The squares of the other
                sources are never cropped.
    skip_bad    leave out pictures that cannot be used and list them in `.skipped`, instead of raising.
    cache_dir   default: $GANLET_CACHE, else $XDG_CACHE_HOME/ganlet, else ~/.cache/ganlet.
    progress    called with (pictures done, pictures in all) while decoding; never for what the cache holds.
    say         called with sentences: first what is taken and passed over, in the end what is odd about the pictures.

    Raises GanletError, one sentence, for bad arguments, a missing package or path, bad pictures, or a full disk.
    """
    _check(source, size=size, channels=channels, crop=crop, count=count, seed=seed)
    path = _expanded(path) if path is not None else None
    decoder: Decoder
    if source == "folder":
        decoder = folder_decoder(path, size=size, channels=channels, crop=crop, skip_bad=skip_bad)
    elif source == "idx":
        decoder = idx_decoder(path, size=size, channels=channels, crop=crop)
    elif source == "digits":
        decoder = digits_decoder(size=size, channels=channels, count=count, seed=seed)
    else:
        decoder = embedded_decoder(source, size=size, channels=channels, count=count, seed=seed)
    say = say or (lambda sentence: None)
    intake = decoder.intake if decoder.intake.taken else Intake({source: decoder.total})
    for sentence in intake.sentences():
        say(sentence)
    pictures = open_or_decode(decoder, cache_dir or default_cache(), (channels, size, size), progress)
    notes = (*pictures.notes, *value_notes(pictures.pictures, pictures.names))
    for sentence in notes:
        say(sentence)
    return replace(pictures, intake=intake, notes=notes)


def _expanded(path: Path) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise GanletError(f"The home folder of {path} is not known; set data.path to a whole path.") from error


def _check(source: str, *, size: int, channels: int, crop: str, count: int, seed: int) -> None:
    if source not in get_args(Source):
        raise GanletError(f"Unknown data source {source!r}; choose one of {', '.join(get_args(Source))}.")
    if crop not in get_args(Crop):
        raise GanletError(f"Unknown crop {crop!r}; choose one of {', '.join(get_args(Crop))}.")
    if crop == "landmarks" and source != "folder":
        raise GanletError(f"Landmarks were asked for but {source} have none; set data.crop, or use a folder.")
    if not 1 <= size <= MAX_SIZE:
        raise GanletError(f"A picture size of {size} was asked for; choose 1 to {MAX_SIZE} pixels with data.size.")
    if channels not in (1, 3):
        raise GanletError(f"{channels} channels were asked for; set data.channels to 1 (grey) or 3 (colour).")
    if count < 1 or seed < 0:
        raise GanletError(f"The count is {count} and the seed {seed}; choose a count from 1 and a seed from 0 on.")
