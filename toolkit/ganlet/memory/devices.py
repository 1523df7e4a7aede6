"""The graphics cards and boards that a forecast can be held against: a catalogue read from devices.toml."""

import difflib
import functools
import math
import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from ganlet.errors import GanletError, words_of

# Neither reserve is a measurement: both are careful assumptions of what the driver and a desktop hold before training
# starts. The CUDA context of the training process itself is not in them: a forecast counts that on its own line.
DISCRETE_RESERVE_MIB = 512
# On a unified board the operating system, its services and Python's own pages live in the same memory, so the share is
# larger, and a small board still has a whole Linux to carry.
UNIFIED_RESERVE_SHARE = 0.25
UNIFIED_RESERVE_MIN_MIB = 1536

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
UNKNOWN_CAPABILITY = (0, 0)
NEAREST_SHOWN = 6
TEXT_SHOWN = 60  # characters of a name that are compared and quoted; no device has a longer one

FIELDS = {
    "name": str,
    "memory_mib": int,
    "unified": bool,
    "compute_capability": str,
    "precisions": list,
    "tensorrt_rtx": bool,
    "source": str,
}


@dataclass(frozen=True)
class Device:
    """One graphics card or board.

    Attributes:
        key: short name, such as `gtx-1660-ti`.
        name: the name NVIDIA gives it, with the memory where one name is sold with several.
        memory_mib: nominal memory in MiB, as sold (an 8 GB card: 8192).
        unified: the memory is shared with the system (Jetson).
        compute_capability: major and minor, (0, 0) where unknown.
        precisions: the number formats whose arithmetic is worth using.
        tensorrt_rtx: TensorRT for RTX builds engines for it.
        source: address of NVIDIA's page for the figures; `--vram-gb` for a nameless card.
    """

    key: str
    name: str
    memory_mib: int
    unified: bool
    compute_capability: tuple[int, int]
    precisions: tuple[str, ...]
    tensorrt_rtx: bool
    source: str

    @property
    def usable_mib(self) -> int:
        """What a training process may plan with, in MiB: the nominal memory less an assumed reserve, never below 0."""
        reserve_mib = DISCRETE_RESERVE_MIB
        if self.unified:
            reserve_mib = max(UNIFIED_RESERVE_MIN_MIB, math.ceil(UNIFIED_RESERVE_SHARE * self.memory_mib))
        return max(0, self.memory_mib - reserve_mib)

    @property
    def tensorrt_targets(self) -> tuple[str, ...]:
        """What TensorRT for RTX builds for, such as `sm75`; empty where it builds no engine for the device."""
        major, minor = self.compute_capability
        return (f"sm{major}{minor}",) if self.tensorrt_rtx else ()


def load_devices() -> dict[str, Device]:
    """Every device of the catalogue by key, in the catalogue's order. Raises GanletError where an entry is faulty."""
    return dict(_catalogue())  # a copy: a caller that changes it must not change the cache


def find_device(name: str) -> Device:
    """The device called `name`, whatever its case and punctuation: `GTX 1660 Ti`, `gtx1660ti`, `1660 ti`.

    Raises GanletError where the name is unknown, or where cards of different memory share it.
    """
    wanted = _plain(name)
    exact, families = _index()
    for prefix in ("", "gtx", "rtx", "jetson"):
        if prefix + wanted in exact:
            return _catalogue()[exact[prefix + wanted]]
        if keys := families.get(prefix + wanted):
            raise GanletError(
                f"{_quoted(name)} is sold with different amounts of memory ({', '.join(keys)}): "
                "name one of these, or give the memory with --vram-gb."
            )
    near = _nearest(wanted, exact)
    advice = f"the nearest are {', '.join(near)}: name one of these, or" if near else "nothing is near it:"
    raise GanletError(f"No device is called {_quoted(name)}; {advice} give the memory with --vram-gb.")


def device_of_memory(vram_gb: float) -> Device:
    """A nameless card of `vram_gb` GB as cards are sold (6 is 6144 MiB), for `--vram-gb`; the rest is unknown."""
    memory_mib = vram_gb * 1024
    if not math.isfinite(memory_mib) or round(memory_mib) < 1:
        raise GanletError(f"--vram-gb is {vram_gb!r}; it must be the memory of the card in GB, above 0, such as 6.")
    return Device(
        key=f"{vram_gb:g}gb",
        name=f"a card with {vram_gb:g} GB",
        memory_mib=round(memory_mib),
        unified=False,
        compute_capability=UNKNOWN_CAPABILITY,
        precisions=("fp32",),
        tensorrt_rtx=False,
        source="--vram-gb",
    )


def parse_devices(text: str) -> dict[str, Device]:
    """The devices of a catalogue in TOML, by key. Raises GanletError with all faults at once."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise GanletError(f"The catalogue of devices is not TOML ({words_of(error)}); reinstall ganlet.") from error
    faults = [f"{key}: {fault}" for key, table in tables.items() for fault in _faults(table)]
    if faults:
        raise GanletError(f"The catalogue of devices is faulty ({'; '.join(faults)}); mend it or reinstall ganlet.")
    return {key: _device(key, table) for key, table in tables.items()}


@functools.cache
def _catalogue() -> dict[str, Device]:
    return parse_devices((files("ganlet.memory") / "devices.toml").read_text(encoding="utf-8"))


def _faults(table: object) -> list[str]:
    """What is wrong with one table of the catalogue; an empty list where it is sound."""
    if not isinstance(table, dict):
        return ["expected a table"]
    if set(table) != set(FIELDS):
        return [f"expected the fields {', '.join(FIELDS)}, got {', '.join(table)}"]
    # type() and not isinstance(): True is an int to isinstance().
    wrong = [
        f"{field} must be of type {kind.__name__}" for field, kind in FIELDS.items() if type(table[field]) is not kind
    ]
    if wrong:
        return wrong
    faults = []
    if table["memory_mib"] <= 0:
        faults.append(f"memory_mib must be above 0, got {table['memory_mib']}")
    if not re.fullmatch(r"[0-9]+\.[0-9]", table["compute_capability"]):
        faults.append(f"compute_capability must look like 7.5, got {table['compute_capability']!r}")
    if "fp32" not in table["precisions"] or not all(precision in PRECISIONS for precision in table["precisions"]):
        faults.append(f"precisions must hold fp32 and only {', '.join(PRECISIONS)}, got {table['precisions']}")
    if not re.match(r"https://([a-z0-9-]+\.)*nvidia\.com/", table["source"]):
        faults.append(f"source must be a page on nvidia.com, got {table['source']!r}")
    return faults


def _device(key: str, table: dict[str, object]) -> Device:
    major, minor = str(table["compute_capability"]).split(".")
    precisions = table["precisions"]
    assert isinstance(precisions, list)
    return Device(
        key=key,
        name=str(table["name"]),
        memory_mib=int(str(table["memory_mib"])),
        unified=bool(table["unified"]),
        compute_capability=(int(major), int(minor)),
        precisions=tuple(precisions),
        tensorrt_rtx=bool(table["tensorrt_rtx"]),
        source=str(table["source"]),
    )


def _plain(name: str) -> str:
    """`name` without case, punctuation and the words that tell no two devices apart; a memory size goes to the end."""
    words = re.sub(r"[^a-z0-9]+", " ", name[:TEXT_SHOWN].casefold())
    # Drivers say "RTX 3050 6GB Laptop GPU", shops say "RTX 3050 Laptop 6 GB": one order for both.
    size = re.search(r"\b([0-9]{1,3}) ?gb\b", words)
    if size:
        words = f"{words[: size.start()]} {words[size.end() :]} {size[1]}gb"
    joined = re.sub("nvidia|geforce|graphics|gpu|with|design|developer ?kit|devkit| ", "", words)
    return re.sub("mobile|notebook", "laptop", joined)


@functools.cache
def _index() -> tuple[dict[str, str], dict[str, list[str]]]:
    """Every accepted plain name with its key, and every plain name that several sizes of memory share with its keys."""
    exact: dict[str, str] = {}
    families: dict[str, list[str]] = {}
    for key, device in _catalogue().items():
        size = f"{device.memory_mib // 1024}gb"
        family = _plain(key).removesuffix(size)
        for form in (_plain(key), _plain(device.name), family + size):
            exact.setdefault(form, key)
        families.setdefault(family, []).append(key)
    return exact, {family: keys for family, keys in families.items() if family not in exact}


def _nearest(wanted: str, exact: dict[str, str]) -> list[str]:
    """Keys to suggest for a plain name that is unknown: those that contain it, then those that look like it."""
    containing = [form for form in exact if len(wanted) >= 3 and wanted in form]
    similar = difflib.get_close_matches(wanted, exact, n=NEAREST_SHOWN, cutoff=0.5)
    return list(dict.fromkeys(exact[form] for form in containing + similar))[:NEAREST_SHOWN]


def _quoted(name: str) -> str:
    return repr(name if len(name) <= TEXT_SHOWN else name[:TEXT_SHOWN] + "...")
