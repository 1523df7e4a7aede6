"""RUN/web/: a static folder that draws a generator's pictures in the browser, with ONNX Runtime Web.

The page works from any static server and opened from disk. A page opened from disk may not read the files beside it,
only run scripts, so what it has to read lies in `disk/` once more, as scripts; a server never sends those.
"""

import base64
import gzip
import json
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from ganlet.artifact import add_to_manifest, describe_file, drop_from_manifest, manifest_entry
from ganlet.device.feed import Ports, find_port, latent_dim
from ganlet.errors import GanletError, printable
from ganlet.files import MB, read_json, write_bytes

FOLDER = "web"
MODEL = "generator.onnx"
INDEX = "index.html"
SOURCES = ("latents.js", "generator.js", "page.js", "style.css")

PACKAGE = "onnxruntime-web"
LOADER, GLUE, WASM = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
RUNTIMES: dict[str, dict[str, str]] = {
    "1.30.0": {
        LOADER: "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
        GLUE: "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
        WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    },
}
"""Versions of onnxruntime-web that the page was tried with -> the least set of their files, each with its SHA-256."""
LATEST = next(iter(RUNTIMES))
LICENCE = "onnxruntime-web.LICENSE.txt"
CDN = "https://cdn.jsdelivr.net/npm/onnxruntime-web@{version}/dist/"


@dataclass(frozen=True)
class Subject:
    """What the page draws with: an exported generator, and what its file says of itself."""

    model: Path
    title: str
    precision: str
    """fp32, fp16 or int8, as the page tells it."""
    ports: Ports
    picture_shape: tuple[int, int, int]
    """(channels, height, width)."""


@dataclass(frozen=True)
class Runtime:
    """Where the page takes ONNX Runtime Web from: copies beside it, or a content delivery network by version."""

    version: str
    copies: dict[str, bytes]

    @property
    def base(self) -> str:
        """Prefix of the files' addresses: empty for copies."""
        return "" if self.copies else CDN.format(version=self.version)


def export_web(run: Path, subject: Subject, wasm: Path | Runtime | None) -> list[Path]:
    """Write RUN/web/ and list each of its files in the manifest; the same generator and runtime give the same bytes.

    `wasm` is the folder of the npm package onnxruntime-web, whose files are then copied; without one the page takes
    them from a content delivery network, by version and hash. Or it is the `Runtime` itself, such as that of the page
    before (`runtime_of_page`). index.html is written last. Returns the files written.
    Raises GanletError for a folder that is not that package, lacks a file of it, or is of a version never tried.
    """
    runtime = wasm if isinstance(wasm, Runtime) else runtime_at(wasm)
    model = subject.model.read_bytes()
    content = {name: _source(name).encode() for name in SOURCES}
    content |= {MODEL: model, _on_disk(MODEL): _as_script(MODEL, model)}
    if runtime.copies:
        content |= runtime.copies | {LICENCE: _source(LICENCE).encode()}
        content |= {_on_disk(name): _as_script(name, runtime.copies[name]) for name in (GLUE, WASM)}
    content[INDEX] = _index(subject, model, runtime).encode()
    made_from: dict[str, Any] = {"file": subject.model.name, "sha256": sha256(model).hexdigest()}
    for name, written in content.items():
        write_bytes(run / FOLDER / name, written)
        foreign = {"version": f"{PACKAGE} {runtime.version}"} if Path(name).name.startswith("ort") else {}
        about = {"precision": subject.precision} if name == MODEL else {}
        add_to_manifest(run, f"{FOLDER}/{name}", made_from=made_from, **about, **foreign)
    for name in _all_names() - content.keys():  # of an earlier export with --wasm
        (run / FOLDER / name).unlink(missing_ok=True)
        drop_from_manifest(run, f"{FOLDER}/{name}")
    return [run / FOLDER / name for name in content]


def runtime_at(wasm: Path | None) -> Runtime:
    """The runtime in an npm package folder, or of the network without one. Raises GanletError as `export_web` does."""
    return Runtime(LATEST, {}) if wasm is None else read_runtime(wasm)


def runtime_of_page(run: Path) -> Runtime:
    """The runtime that RUN/web/ has: the copies that lie there, else that of the network.

    Raises GanletError where some of the copies are missing or changed.
    """
    listed = [name for name in (LOADER, GLUE, WASM) if manifest_entry(run, f"{FOLDER}/{name}")]
    for version, known in RUNTIMES.items():
        paths = {name: run / FOLDER / name for name in known}
        copies = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
        if copies.keys() == known.keys() and all(sha256(copies[n]).hexdigest() == known[n] for n in known):
            return Runtime(version, copies)
    if not listed:
        return Runtime(LATEST, {})
    raise GanletError(
        f"The copies of {PACKAGE} in {run / FOLDER} are not whole; make the page again with "
        f"`ganlet export {run} --to web --wasm DIR`, where DIR is that npm package."
    )


def is_written(run: Path, subject: Subject, runtime: Runtime) -> bool:
    """Whether RUN/web/ is whole and what `export_web` would write with this runtime."""
    model = subject.model.read_bytes()
    content = {name: _source(name).encode() for name in SOURCES}
    content |= {MODEL: model, INDEX: _index(subject, model, runtime).encode()}
    names = {*content, _on_disk(MODEL)}
    if runtime.copies:
        names |= {*runtime.copies, LICENCE, _on_disk(GLUE), _on_disk(WASM)}
    for name in sorted(names):
        path = run / FOLDER / name
        if not path.is_file() or (name in content and path.read_bytes() != content[name]):
            return False
        if not describe_file(path).items() <= manifest_entry(run, f"{FOLDER}/{name}").items():
            return False
    return True


def read_runtime(folder: Path) -> Runtime:
    """The files that the page needs of an npm package folder. Raises GanletError as `export_web` does."""
    get = f"get it with `npm pack {PACKAGE}@{LATEST}` and unpack it"
    about = read_json(folder / "package.json") if (folder / "package.json").is_file() else {}
    if not isinstance(about, dict) or about.get("name") != PACKAGE:
        raise GanletError(
            f"--wasm {folder} is not the npm package {PACKAGE}: it has no package.json of that name; {get}."
        )
    version = about.get("version")
    if not isinstance(version, str) or version not in RUNTIMES:
        raise GanletError(
            f"--wasm {folder} is {PACKAGE} {version}, which was never tried; expected {', '.join(RUNTIMES)}, {get}."
        )
    copies = {}
    for name, expected in RUNTIMES[version].items():
        path = folder / "dist" / name
        if not path.is_file():
            raise GanletError(f"--wasm {folder} has no dist/{name}; expected all of {PACKAGE} {version}, {get}.")
        copies[name] = path.read_bytes()
        if (got := sha256(copies[name]).hexdigest()) != expected:
            raise GanletError(
                f"{path} is not that of {PACKAGE} {version}: its SHA-256 begins with {got[:12]}, expected "
                f"{expected[:12]}; {get} again."
            )
    return Runtime(version, copies)


def content_policy(base: str) -> str:
    """The page's content security policy: itself alone, and `base` where the runtime comes from elsewhere.

    'wasm-unsafe-eval' lets WebAssembly be compiled, and nothing else. `blob:` is the runtime's glue, an ES module that
    is imported from the bytes whose hash was checked; a module cannot be imported by its hash otherwise.
    """
    elsewhere = f" {base}" if base else ""
    return (
        f"default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'{elsewhere}; style-src 'self'; img-src data:; "
        f"connect-src 'self'{elsewhere}; base-uri 'none'; form-action 'none'"
    )


def _index(subject: Subject, model: bytes, runtime: Runtime) -> str:
    channels, height, width = subject.picture_shape
    known, label = RUNTIMES[runtime.version], find_port(subject.ports, "label")
    facts = {
        "name": printable(subject.title),
        "latent": latent_dim(subject.ports),
        "channels": channels,
        "height": height,
        "width": width,
        "classes": label.classes if label is not None else None,
        "class_names": [printable(name) for name in label.class_names] if label is not None else [],
        "model": _checked(MODEL, sha256(model).hexdigest()),
        "runtime": {
            "version": runtime.version,
            "base": runtime.base,
            "glue": _checked(GLUE, known[GLUE]),
            "wasm": _checked(WASM, known[WASM]),
        },
    }
    # A script that the page's own server sends needs no hash, and one opened from disk cannot have one.
    integrity = f' integrity="{_integrity(known[LOADER])}" crossorigin="anonymous"' if runtime.base else ""
    return Template(_source(INDEX)).substitute(
        policy=content_policy(runtime.base),
        title=escape(printable(subject.title)),
        facts=json.dumps(facts).replace("<", "\\u003c"),
        runtime_script=f'<script src="{runtime.base}{LOADER}"{integrity} defer></script>',
        about=escape(f"The generator: {width} x {height} pixels, {subject.precision}, {len(model) / MB:.2f} MB."),
        version=runtime.version,
    )


def _checked(name: str, digest: str) -> dict[str, str]:
    return {"name": name, "sha256": digest, "integrity": _integrity(digest)}


def _integrity(digest: str) -> str:
    """A hex SHA-256 as browsers want it (W3C Subresource Integrity, section 3)."""
    return f"sha256-{base64.b64encode(bytes.fromhex(digest)).decode()}"


def _on_disk(name: str) -> str:
    return f"disk/{name}.js"


def _as_script(name: str, content: bytes) -> bytes:
    packed = base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode()
    return f'"use strict";\nhandOver("{name}", "{packed}");\n'.encode()


def _all_names() -> set[str]:
    copies = {name for runtime in RUNTIMES.values() for name in runtime}
    return copies | {LICENCE, _on_disk(GLUE), _on_disk(WASM)}


def _source(name: str) -> str:
    return (files("ganlet.export") / "web" / name).read_text(encoding="utf-8")
