"""What a manifest.json says of an artifact: whether the file is unchanged, and what generator it holds.

`ganlet export` lists every file it makes in RUN/manifest.json, by its path below RUN. On a device the manifest lies
beside the artifact, or one folder above it (engines/sm75.engine).
"""

from pathlib import Path
from typing import Any

from ganlet import own_files
from ganlet.device.feed import find_port, latent_dim
from ganlet.device.runner import Runner
from ganlet.errors import GanletError
from ganlet.files import sha256_file

MANIFEST = "manifest.json"


def listed(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The manifest that lists `path` and its entry; None where no manifest does.

    A file that no manifest lists by its name is looked for by its SHA-256: it may have been renamed. Manifests of
    other programs, such as a web page's, are passed over. Raises GanletError when a manifest of Ganlet is damaged, or
    lists the file without its bytes and sha256.
    """
    folder = path.absolute().parent
    manifests = [
        (name, manifest_path, manifest["files"])
        for name, manifest_path in (
            (path.name, path.parent / MANIFEST),
            (f"{folder.name}/{path.name}", folder.parent / MANIFEST),
        )
        if (manifest := own_files.read_own(manifest_path, own_files.MANIFEST, lists=name)) is not None
    ]
    for name, manifest_path, files in manifests:
        if name in files:
            return manifest_path, _entry(manifest_path, name, files[name])
    for _, manifest_path, files in manifests:
        if (renamed := _same_file(path, files)) is not None:
            return manifest_path, renamed
    return None


def _entry(manifest_path: Path, name: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict) or not {"bytes", "sha256"} <= entry.keys():
        raise GanletError(
            f"{manifest_path} lists {name} without its bytes and sha256; export again with `ganlet export`."
        )
    return entry


def _same_file(path: Path, files: dict[str, Any]) -> dict[str, Any] | None:
    """The entry whose length and SHA-256 are those of `path`; files of another length are not hashed."""
    try:
        length = path.stat().st_size
        alike = [entry for entry in files.values() if isinstance(entry, dict) and entry.get("bytes") == length]
        sha256 = sha256_file(path) if alike else ""
    except OSError:  # what opens it says so
        return None
    return next((entry for entry in alike if entry.get("sha256") == sha256), None)


def check_unchanged(path: Path) -> bool:
    """Whether a manifest lists `path`. Raises GanletError when it does with another length or SHA-256 than it has."""
    found = listed(path)
    if found is None:
        return False
    manifest_path, entry = found
    try:
        length = path.stat().st_size
        # The cheap comparison first: it already tells of a file cut short.
        if entry["bytes"] != length:
            got, expected = f"{length} bytes", f"{entry['bytes']} bytes"
        elif (sha256 := sha256_file(path)) != entry["sha256"]:
            got, expected = f"SHA-256 {sha256[:12]}...", f"{str(entry['sha256'])[:12]}..."
        else:
            return True
    except OSError as error:
        raise GanletError(f"Cannot read {path}: {error.strerror or error}; check the path.") from error
    raise GanletError(
        f"{path} was changed after it was made: got {got}, but {manifest_path.name} beside it says {expected}; "
        "export it again with `ganlet export`, or copy both files again."
    )


def check_contract(path: Path, runner: Runner) -> None:
    """Raise GanletError when a manifest lists `path` as a generator of other inputs, outputs or recipe than it is.

    The hash tells that a file is the one that was listed; this tells that what was listed about it is true, so that a
    manifest put together from two runs is refused.
    """
    found = listed(path)
    if found is None:
        return
    manifest_path, entry = found
    recipe_sha256 = getattr(runner, "metadata", {}).get("recipe_sha256")
    said: dict[str, Any] = {}
    if z := _shape(entry, "inputs", "z"):
        said |= {"latent": z[-1], "label": "label" in entry["inputs"]}
    if images := _shape(entry, "outputs", "images"):
        said["picture"] = images[1:]
    if recipe_sha256 is not None and "recipe_sha256" in entry:
        said["recipe_sha256"] = entry["recipe_sha256"]
    got = {
        "latent": latent_dim(runner.ports),
        "label": find_port(runner.ports, "label") is not None,
        "picture": list(runner.picture_shape),
        "recipe_sha256": recipe_sha256,
    }
    for key, expected in said.items():
        if got[key] != expected:
            raise GanletError(
                f"{path} belongs to another configuration than {manifest_path.name} says: got {key} {got[key]}, but it "
                f"lists {expected}; copy the artifact and its {manifest_path.name} from one run, or export again."
            )


def _shape(entry: dict[str, Any], ends: str, name: str) -> list[Any]:
    """The shape that an entry gives one of its inputs or outputs; empty where it gives none."""
    nodes = entry.get(ends)
    node = nodes.get(name) if isinstance(nodes, dict) else None
    shape = node.get("shape") if isinstance(node, dict) else None
    return shape if isinstance(shape, list) else []
