"""The arrows between rooms: what each may import. Read from the source, so that a lazy import counts as well."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ganlet

ROOT = Path(ganlet.__file__).parent
GROUND = {"errors", "files", "limits", "own_files"}
MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "own_files": {"errors", "files"},
    "sealed": GROUND,
    "leftovers": GROUND,
    "limits": set(),
    "observer": set(),
    "section": set(),
    "recipe": GROUND | {"artifact", "section", "models"},
    "artifact": GROUND,
    "data": GROUND | {"leftovers"},
    "models": GROUND | {"device", "losses", "section"},
    "losses": GROUND,
    "device": GROUND,
    "metrics": GROUND | {"device"},
    "latent": GROUND | {"device", "metrics"},
    "report": GROUND | {"artifact", "device"},  # the list of what no hardware has shown
    "training": GROUND | {"artifact", "recipe", "data", "models", "losses", "device"},
    "compress": GROUND | {"artifact", "recipe", "models", "losses", "training", "device", "export"},
    "memory": GROUND | {"data"} | {"recipe", "models", "training", "device"},
    "export": GROUND | {"artifact", "models", "training", "device"},
    "verify": GROUND | {"artifact", "recipe", "data", "device", "metrics", "latent", "memory", "models"} | {"training"},
    "commands.fid": GROUND | {"leftovers"} | {"artifact", "data", "device", "metrics", "verify", "observer"},
    "commands.conflicts": set(),
    "commands.doctor": GROUND | {"artifact", "device", "commands.conflicts"},
    "search": GROUND | {"models", "recipe", "metrics"},
    "commands.freeze": GROUND
    | {"sealed"}
    | {
        "artifact",
        "compress",
        "data",
        "memory",
        "metrics",
        "observer",
        "commands.preflight",
        "recipe",
        "search",
        "training",
    }
    | {"verify"},
    "commands.search": GROUND
    | {"sealed"}
    | {"artifact", "compress", "device", "export", "models", "observer", "commands.run", "recipe", "report", "search"}
    | {"training", "verify", "commands.open_run"},
    "commands.import_weights": GROUND | {"artifact", "models", "recipe", "training"},
    "commands.preflight": GROUND
    | {"artifact", "recipe", "models", "training", "compress", "memory", "device", "metrics"},
    "commands.budget": GROUND | {"recipe", "commands.preflight", "memory", "models", "export", "report", "training"},
    "commands.export": GROUND
    | {"artifact", "recipe", "commands.preflight", "export", "device", "verify", "memory", "observer"},
    "commands.bench": GROUND | {"artifact", "device", "export", "observer", "verify"},
    "commands.earlier_stages": GROUND | {"artifact", "recipe", "training"},
    "commands.open_run": GROUND
    | {"leftovers"}
    | {"artifact", "recipe", "data", "commands.preflight", "training", "memory", "verify", "observer"}
    | {"commands.earlier_stages"},
    "commands.run": GROUND
    | {"sealed"}
    | {
        "artifact",
        "recipe",
        "commands.preflight",
        "training",
        "compress",
        "commands.export",
        "verify",
        "observer",
        "report",
    }
    | {"commands.freeze", "commands.open_run"},
    "commands.likelihood": GROUND
    | {"artifact", "data", "metrics", "models", "observer", "commands.open_run", "recipe", "training", "verify"},
    "commands.sample": GROUND | {"device", "commands.fid", "observer"},
    "ui": {"errors", "observer"},
}
FOREIGN_FORBIDDEN = {
    "device": {"torch", "typer", "onnx", "pydantic", "rich", "scipy"},
    "recipe": {"torch"},
    "files": {"torch", "numpy"},
    "limits": {"torch", "numpy"},
    "losses": {"typer", "pydantic"},
    "models": {"typer"},
    "metrics": {"typer", "pydantic"},
    "report": {"torch"},
}


def room_of(path: Path) -> str:
    """Of `commands/` each module and folder is a room of its own."""
    first, *rest = path.relative_to(ROOT).parts
    return f"commands.{rest[0].removesuffix('.py')}" if first == "commands" else first.removesuffix(".py")


def imported_room(name: str) -> str:
    """`ganlet.commands.fid.files` is of the room "commands.fid"."""
    _, first, *rest = name.split(".")
    return f"commands.{rest[0]}" if first == "commands" and rest else first


def imports_of(path: Path) -> set[str]:
    """Dotted names of every module imported anywhere in a file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module in ("ganlet", "ganlet.commands") else {node.module}
    return found


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_what_lies_below(room: str) -> None:
    files = [path for path in ROOT.rglob("*.py") if room_of(path) == room]
    assert files, room
    for path in files:
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] == "ganlet" and len(parts) > 1 and parts[1] != "__version__":
                below = imported_room(name)
                assert below == room or below in MAY_IMPORT[room], f"{path.name} imports {name}"
            assert parts[0] not in FOREIGN_FORBIDDEN.get(room, set()), f"{path.name} imports {name}"


NO_FAMILY = {"__init__", "adapters", "base", "blocks", "config", "families", "init", "ports"}  # other files of models/
FAMILY_MAY_IMPORT = (
    "section",
    "losses",
    "device.feed",
    *(f"models.{n}" for n in ("base", "blocks", "config", "ports")),
)


def test_a_family_of_networks_knows_no_other_room() -> None:
    """So that a family is one file: how it is trained, compressed and exported is none of its business."""
    families = [path for path in (ROOT / "models").glob("*.py") if path.stem not in NO_FAMILY]
    assert families
    for path in families:
        for name in imports_of(path):
            own = name.removeprefix("ganlet.")
            allowed = own == name or own.startswith(FAMILY_MAY_IMPORT) or name == "ganlet.models"
            assert allowed, f"{path.name} imports {name}"


def test_every_room_is_listed() -> None:
    rooms = {room_of(path) for path in ROOT.rglob("*.py")}
    assert rooms - set(MAY_IMPORT) == {"cli", "__init__", "__main__", "commands.__init__"}


def test_the_arrows_make_no_circle() -> None:
    left = dict(MAY_IMPORT)
    while left:
        free = [room for room, below in left.items() if not below & set(left)]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            del left[room]


def test_device_and_sampling_load_no_heavy_package() -> None:
    code = "import sys; from ganlet.device import Sampler; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & {"torch", "onnx", "typer", "pydantic", "scipy", "matplotlib", "jinja2"}
    assert "numpy" in loaded
