"""What is said of a generator that draws little or nothing like the data: failed checks, warnings, one finding.

The limits lie between what good runs of this repository measure and what staged failures do; the table is
`benchmarks/results/absolute_checks.txt`.

- A share of the data's variety at or below 10 % has failed. Good runs have 0.6 to 1.4 of each. One picture for every
  latent has none of four of the five, two pictures 3 % of the rank and no picture without a double, one colour for
  every latent no contrast; an untrained generator up to 12 % of the spread and a few percent of doubles and pixels.
- A distance of 1.2 ONE or more has failed: one picture of the data for every latent would be nearer, by a fifth. Noise
  is at 1.27 to 1.9. A fifth is left since a teacher stopped at an early stage, of which one sees what it is to become,
  comes to 1.06.
- From 0.9 of the way from DATA to ONE on, and below the shares of DOUBTFUL_SHARE, a report warns. The good runs are at
  0.27 to 0.87, the last being trained for a third of what their recipes ask for.
"""

from collections.abc import Mapping

from ganlet.verify.checks import Check, Status
from ganlet.verify.standing import Standing, Standings

HOPELESS_SHARE = 0.10  # of what the data have
HOPELESS_DISTANCE = 1.2  # times the distance of one picture
DOUBTFUL_SHARE = {"spread": 0.4, "rank": 0.4, "distinct": 0.75, "pixels": 0.4, "contrast": 0.4}
DOUBTFUL_POSITION = 0.9
SAME = 1e-6  # share of the data's spread of features below which pictures are one and the same
MANY_DOUBLES = 0.5  # of the data's pictures, beyond which a report says that variety is held against that

NAMES = {
    "spread": "spread of its features",
    "rank": "effective rank of its features",
    "distinct": "part of its pictures without a double",
    "pixels": "difference between its pictures in pixels",
    "contrast": "contrast within its pictures",
}
SHORT = {
    "spread": "spread of features",
    "rank": "effective rank",
    "distinct": "pictures without a double",
    "pixels": "difference in pixels",
    "contrast": "contrast",
}
ONE_PICTURE = "one picture for every latent"
NO_CONTENT = "pictures without content"
NEARLY_ONE = "nearly the same picture for every latent"
FEW = "the same few pictures again and again"
FAR = "nothing like the data"
FAILURES = (ONE_PICTURE, NO_CONTENT, NEARLY_ONE, FEW, FAR)  # the worst first
ALL_THE_SAME = "the pictures of the data are all the same, so nothing can be shown of a generator"


def absolute_checks(standings: Standings) -> list[Check]:
    """Two checks for each generator, or one undecided check where the data are one picture."""
    if standings.is_one_picture:
        why = f"{ALL_THE_SAME[:1].upper()}{ALL_THE_SAME[1:]}; use pictures that differ."
        return [Check("variety of the data", "undecided", 0.0, None, "", why)]
    return [
        check
        for name, standing in standings.subjects.items()
        for check in (_variety_check(name, standing, standings.count), _distance_check(name, standing, standings))
    ]


def _variety_check(name: str, standing: Standing, count: int) -> Check:
    worst = min(standing.shares.values())
    shares = ", ".join(f"{SHORT[key]} {_percent(share)}" for key, share in standing.shares.items())
    reason = f"Of what the data have, at {count} pictures each: {shares}; the least of them has to be above the limit."
    status: Status = "failed" if worst <= HOPELESS_SHARE else "passed"
    return Check(f"variety of {name}", status, 100 * worst, 100 * HOPELESS_SHARE, "%", reason, is_least=True)


def _distance_check(name: str, standing: Standing, standings: Standings) -> Check:
    named, distance = f"distance of {name} to the data", standing.distance
    if name in standings.strangers:
        why = f"The {name} learnt other pictures than these; that it is far from them says nothing of it."
        return Check(named, "not_verified", distance, None, "", why)
    limit, own = HOPELESS_DISTANCE * standings.one_picture, standings.data_to_data
    one = f"one picture of the data, drawn for every latent, is {standings.one_picture:,.0f} away"
    if own is None:
        why = f"There are too few {standings.reference} to measure how far the data are from themselves; {one}."
        return Check(named, "undecided", distance, limit, "", why)
    data = f"other pictures of the data, {standings.data_to_data_count} of them, are {own:,.0f} away"
    if standing.position is None:
        why = f"There are too few pictures to tell the data from one picture: {data}, {one}."
        return Check(named, "undecided", distance, limit, "", why)
    status: Status = "failed" if distance >= limit else "passed"
    times = f"That is {distance / own:,.1f} times the distance of the data from themselves" if own else "Compare"
    reason = (
        f"Frechet distance to {standings.reference}. {times}: {data}, {one}; {HOPELESS_DISTANCE:g} times that fails."
    )
    return Check(named, status, distance, limit, "", reason)


def finding(standings: Standings) -> str:
    """What has failed altogether, in one clause, the worst first: "the teacher draws one picture for every latent".

    Empty where nothing has.
    """
    if standings.is_one_picture:
        return ALL_THE_SAME
    groups: dict[str, list[str]] = {}
    for name, standing in standings.subjects.items():
        far = name not in standings.strangers and standing.position is not None
        far &= standing.distance >= HOPELESS_DISTANCE * standings.one_picture
        if what := _failure(standing, far):
            groups.setdefault(what, []).append(name)
    return "; ".join(_clause(groups[what], what) for what in FAILURES if what in groups)


def _failure(standing: Standing, is_far: bool) -> str:
    failed = {key for key, share in standing.shares.items() if share <= HOPELESS_SHARE}
    if standing.shares.get("pixels") == 0.0 or standing.shares["spread"] <= SAME:
        return ONE_PICTURE
    if "contrast" in failed:
        return NO_CONTENT
    if failed & {"pixels", "spread"}:
        return NEARLY_ONE
    if is_far and failed <= {"distinct"}:  # noise is alike in its features: that it is far says more
        return FAR
    return FEW if failed else ""


def _clause(names: list[str], what: str) -> str:
    called = [name if "." in name else f"the {name}" for name in names]
    if len(called) == 1:
        return f"{called[0]} draws {what}"
    return f"{', '.join(called[:-1])} and {called[-1]} draw {what}"


def doubts(standings: Standings) -> list[str]:
    """A warning for each measure by which a generator is doubtful; those of the same measure share one."""
    sentences = []
    if not standings.is_one_picture and standings.data_doubles > MANY_DOUBLES:
        share = _percent(standings.data_doubles)
        sentences.append(f"data: {share} of the pictures have a double; variety is held against that.")
    for key, limit in DOUBTFUL_SHARE.items():
        low = {
            name: _percent(standing.shares[key])
            for name, standing in standings.subjects.items()
            if HOPELESS_SHARE < standing.shares.get(key, 1.0) < limit
            and not (key == "distinct" and standing.distinct_at_best >= limit)
        }
        usual = f"where at least {_percent(limit)} is usual"
        sentences += _doubt(low, f"the {NAMES[key]} is {{}} of what the data have, {usual}")
    far = {
        name: f"{standing.distance / standings.one_picture:.2f}"
        for name, standing in standings.subjects.items()
        if name not in standings.strangers
        and standing.position is not None
        and standing.position >= DOUBTFUL_POSITION
        and standing.distance < HOPELESS_DISTANCE * standings.one_picture
    }
    return sentences + _doubt(far, "its distance to the data is {} times that of one picture drawn for every latent")


def _doubt(values: Mapping[str, str], what: str) -> list[str]:
    """One sentence, which begins with the first subject and names the others with their values in brackets."""
    if not values:
        return []
    first, *others = values
    beside = f" ({', '.join(f'{name} {values[name]}' for name in others)})" if others else ""
    return [f"{first}: {what.format(values[first])}{beside}; look at samples/{first}.png."]


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
