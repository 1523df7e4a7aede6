"""Whether there are enough pictures to judge by, and how many would do."""

from ganlet.verify.checks import Check
from ganlet.verify.fidelity import Reference

LEAST_REFERENCE = 20
"""Pictures that a verdict is at least held against.

With fewer the data are too far from themselves. In units of the spread of their features (Lite0; six draws each of
digits and kittens) a set of pictures of the data is 1.3 to 1.7 away from 8 others, as far as a poor generator is, 0.7
to 1.2 from 16, and 0.7 to 1.0 from 20. Nor does a bootstrap over fewer give an interval to rely on.
"""
PICTURES_TO_JUDGE_BY = "pictures to judge by"  # the name of the check
MOST_HOLDOUT = 0.5  # that is recommended: beyond it more is held out than is left to learn from


def held_out(count: int, holdout: float) -> int:
    """How many of `count` pictures a recipe holds out; the rule of `PictureSet.split`."""
    return min(round(count * holdout), count - 1)


def pictures_that_do(holdout: float) -> int:
    """The least number of pictures of which `holdout` leaves LEAST_REFERENCE to judge by.

    Without a held-out share the training pictures are judged by.
    """
    if holdout == 0:
        return LEAST_REFERENCE
    count = LEAST_REFERENCE + 1
    while held_out(count, holdout) < LEAST_REFERENCE:
        count += 1
    return count


def holdout_that_does(count: int) -> float | None:
    """The least share, in hundredths, that holds LEAST_REFERENCE of `count` pictures out; None above MOST_HOLDOUT."""
    shares = (hundredths / 100 for hundredths in range(1, round(100 * MOST_HOLDOUT) + 1))
    return next((share for share in shares if held_out(count, share) >= LEAST_REFERENCE), None)


def shortage(count: int, holdout: float) -> str:
    """Why `count` pictures are too few for a verdict, with what would do; empty where they are enough."""
    held = held_out(count, holdout)
    if (held if holdout else count) >= LEAST_REFERENCE:
        return ""
    share = holdout_that_does(count) if holdout else None
    remedy = f"use at least {pictures_that_do(holdout)} pictures" + (f", or data.holdout = {share:g}" if share else "")
    if holdout:
        some = {0: "no picture is", 1: "1 picture is"}.get(held, f"{held} pictures are")
        known = f"{some} held out of {count} (data.holdout = {holdout:g})"
    else:
        known = f"there are {count} pictures, none of them held out (data.holdout = 0)"
    return f"{known}, and a verdict needs {LEAST_REFERENCE}: {remedy}"


def enough_checks(reference: Reference, holdout: float) -> list[Check]:
    """An undecided check where there are too few pictures to judge by; else none."""
    why = shortage(len(reference.pictures), holdout)
    if not why:
        return []
    held = held_out(len(reference.pictures), holdout) if holdout else len(reference.indices)
    return [Check(PICTURES_TO_JUDGE_BY, "undecided", held, LEAST_REFERENCE, "pictures", f"{why}.")]


def few_to_compare(count: int, holdout: float) -> str:
    """Why memorisation is not verified, where fewer than two pictures are held out."""
    if holdout == 0:
        return "No pictures are held out; set data.holdout above 0."
    why = shortage(count, holdout)
    return f"{why[:1].upper()}{why[1:]}." if why else ""


def enough_warnings(holdout: float) -> list[str]:
    """A warning where the recipe holds nothing out, so that the pictures to judge by are those that training saw."""
    if holdout:
        return []
    return [
        "data: no pictures are held out, so every distance is to the training pictures; a generator that repeats them "
        "comes out well. Set data.holdout, such as 0.2, to judge by pictures that training never saw."
    ]


def warn_if_too_few(count: int, holdout: float) -> str:
    """What to say before hours of training whose verdict will be undecided; empty where `count` pictures are enough."""
    why = shortage(count, holdout)
    return f"warning: the verdict will be undecided: {why}." if why else ""
