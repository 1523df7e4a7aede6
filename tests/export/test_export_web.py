"""RUN/web/: what lies in it, what the page may do, and what of --wasm is refused. No browser is needed here."""

import base64
import getpass
import gzip
import json
import re
import tempfile
from collections.abc import Callable
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import ganlet
from ganlet.artifact import add_to_manifest, load_stage
from ganlet.commands import export
from ganlet.device import OnnxRunner
from ganlet.export import web
from ganlet.export.web import GLUE, LICENCE, LOADER, WASM, Subject, content_policy, export_web
from ganlet.files import read_json
from ganlet.recipe import load_recipe
from support import Answer, Silent, expect_refused, fake_package

KITTENS = Path(__file__).parents[2] / "exported" / "kittens" / "generator.onnx"
OWN = {"index.html", "page.js", "latents.js", "generator.js", "style.css", "generator.onnx", "disk/generator.onnx.js"}
COPIED = {LOADER, GLUE, WASM, LICENCE, f"disk/{GLUE}.js", f"disk/{WASM}.js"}


def subject(title: str = "kittens") -> Subject:
    runner = OnnxRunner(KITTENS)
    return Subject(KITTENS, title, "fp32", runner.ports, runner.picture_shape)


@pytest.fixture
def fake_wasm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of three small files, and a table that knows them."""
    folder = tmp_path / "npm" / "onnxruntime-web"
    known = fake_package(folder)
    monkeypatch.setattr(web, "RUNTIMES", {"9.8.7": known})
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


class Page(HTMLParser):
    """The page's elements, and the text inside its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        if tag in ("script", "style") and data.strip():
            self.inline.append(attributes.get("type") or tag)


def test_the_folder_is_whole_and_every_file_is_in_the_manifest(fake_wasm: Path, tmp_path: Path) -> None:
    made = export_web(tmp_path / "run", subject(), fake_wasm)
    found = contents(tmp_path / "run" / "web")
    assert found.keys() == OWN | COPIED
    assert made[-1].name == "index.html" and {path.relative_to(tmp_path / "run/web").as_posix() for path in made} == (
        OWN | COPIED
    )
    entries = read_json(tmp_path / "run" / "manifest.json")["files"]
    assert entries.keys() == {f"web/{name}" for name in found}
    for name, content in found.items():
        entry = entries[f"web/{name}"]
        assert entry["sha256"] == sha256(content).hexdigest() and entry["bytes"] == len(content)
        assert entry["made_from"]["sha256"] == sha256(KITTENS.read_bytes()).hexdigest()
    assert entries[f"web/{WASM}"]["version"] == "onnxruntime-web 9.8.7"
    assert found["generator.onnx"] == KITTENS.read_bytes()


def test_the_same_generator_gives_the_same_bytes_without_paths(fake_wasm: Path, tmp_path: Path) -> None:
    export_web(tmp_path / "one", subject(), fake_wasm)
    export_web(tmp_path / "two", subject(), fake_wasm)
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two")
    package = str(Path(ganlet.__file__).parent)
    for leak in (package, str(Path.cwd()), tempfile.gettempdir(), "site-packages", f"/{getpass.getuser()}/"):
        assert not [name for name, content in one.items() if leak.encode() in content]


def test_scripts_for_a_page_from_disk_hold_the_same_bytes(fake_wasm: Path, tmp_path: Path) -> None:
    export_web(tmp_path, subject(), fake_wasm)
    found = contents(tmp_path / "web")
    for name in ("generator.onnx", GLUE, WASM):
        call = re.fullmatch(r'"use strict";\nhandOver\((".*"), (".*")\);\n', found[f"disk/{name}.js"].decode())
        assert call and json.loads(call[1]) == name
        assert gzip.decompress(base64.b64decode(json.loads(call[2]))) == found[name]


@pytest.mark.parametrize("copied", [True, False])
def test_the_page_runs_nothing_but_its_own_files(request: pytest.FixtureRequest, tmp_path: Path, copied: bool) -> None:
    export_web(tmp_path, subject(), request.getfixturevalue("fake_wasm") if copied else None)
    page = Page((tmp_path / "web" / "index.html").read_text())
    (policy,) = [str(a["content"]) for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';") and "'unsafe-" not in policy
    assert page.inline == ["application/json"]  # data, which no browser runs
    for tag, attributes in page.elements:
        assert "style" not in attributes and not [name for name in attributes if name.startswith("on")], tag
    scripts = [attributes for tag, attributes in page.elements if tag == "script" and "src" in attributes]
    foreign = [attributes for attributes in scripts if ":" in str(attributes["src"])]
    if copied:
        assert not foreign and "http" not in policy
    else:
        assert set(re.findall(r"https?:[^ ;]+", policy)) == {
            "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/"
        }
        assert [a["src"] for a in foreign] == [f"https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/{LOADER}"]
        assert str(foreign[0]["integrity"]).startswith("sha256-") and foreign[0]["crossorigin"] == "anonymous"
        assert contents(tmp_path / "web").keys() == OWN


def test_the_policy_of_a_copied_and_of_a_referenced_runtime() -> None:
    assert content_policy("") == (
        "default-src 'none'; script-src 'self' blob: 'wasm-unsafe-eval'; style-src 'self'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    assert "script-src 'self' blob: 'wasm-unsafe-eval' https://x/a/; " in content_policy("https://x/a/")
    assert "connect-src 'self' https://x/a/; " in content_policy("https://x/a/")


def test_the_title_is_text_whatever_it_holds(fake_wasm: Path, tmp_path: Path) -> None:
    name = '</script><b>&"'
    export_web(tmp_path, subject(name), fake_wasm)
    text = (tmp_path / "web" / "index.html").read_text()
    assert "<b>" not in text and "&lt;b&gt;&amp;&quot;" in text
    facts = re.search(r'id="facts">(.*?)</script>', text)
    assert facts and json.loads(facts[1])["name"] == name


def test_a_page_without_wasm_leaves_no_copies_of_an_earlier_one(fake_wasm: Path, tmp_path: Path) -> None:
    known = dict(web.RUNTIMES)
    export_web(tmp_path, subject(), fake_wasm)
    web.RUNTIMES[web.LATEST] = known["9.8.7"]  # fake_wasm's own table, which goes with it
    export_web(tmp_path, subject(), None)
    assert contents(tmp_path / "web").keys() == OWN
    assert read_json(tmp_path / "manifest.json")["files"].keys() == {f"web/{name}" for name in OWN}


def test_the_command_makes_the_generator_first(own_run: Path, ganlet: Callable[..., Answer]) -> None:
    wanted = (own_run / "generator.onnx").read_bytes()
    (own_run / "generator.onnx").unlink()
    code, out, _ = ganlet("export", own_run, "--to", "web", "--json")
    assert code == 0
    assert json.loads(out.splitlines()[-1])["path"] == str(own_run / "web" / "index.html")
    assert (own_run / "web" / "generator.onnx").read_bytes() == wanted == (own_run / "generator.onnx").read_bytes()
    text = (own_run / "web" / "index.html").read_text()
    assert "<title>tiny</title>" in text and "16 x 16 pixels, fp32" in text  # the run's name, not the folder's
    assert read_json(own_run / "manifest.json")["files"]["web/generator.onnx"]["precision"] == "fp32"


def test_the_page_takes_the_precision_that_is_wished(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def onnx(stage: Any, run: Path, options: export.ExportOptions, observer: Any) -> list[Path]:
        assert options.precision == "int8"
        (run / "generator.int8.onnx").write_bytes((run / "generator.onnx").read_bytes())
        add_to_manifest(run, "generator.int8.onnx", precision="int8")
        return [run / "generator.int8.onnx"]

    monkeypatch.setitem(export.TARGETS, "onnx", onnx)
    export.export_source(own_run, "web", export.ExportOptions(precision="int8"), Silent())
    assert "16 x 16 pixels, int8" in (own_run / "web" / "index.html").read_text()
    entry = read_json(own_run / "manifest.json")["files"]["web/generator.onnx"]
    assert entry["precision"] == "int8" and entry["made_from"]["file"] == "generator.int8.onnx"


def test_a_recipe_may_ask_for_the_page(own_run: Path) -> None:
    recipe = load_recipe(own_run / "recipe.toml", ['export.targets=["web"]'])
    made = export.export_recipe(recipe, load_stage(own_run / "student"), own_run, Silent())
    assert made[0] == own_run / "generator.onnx" and made[-1] == own_run / "web" / "index.html"


def test_a_folder_that_is_not_the_package_is_refused(
    own_run: Path, fake_wasm: Path, tmp_path: Path, ganlet: Callable[..., Answer]
) -> None:
    def refused(*words: str) -> None:
        expect_refused(ganlet("export", own_run, "--to", "web", "--wasm", fake_wasm), *words)
        assert not (own_run / "web").exists()

    (fake_wasm / "dist" / WASM).write_text("changed")
    refused(WASM, "is not that of onnxruntime-web 9.8.7: its SHA-256 begins with")
    (fake_wasm / "dist" / WASM).unlink()
    refused(f"has no dist/{WASM}", "npm pack onnxruntime-web@")
    (fake_wasm / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.2.3"}')
    refused("is onnxruntime-web 1.2.3, which was never tried; expected 9.8.7")
    (fake_wasm / "package.json").write_text('{"name": "left-pad", "version": "9.8.7"}')
    refused("is not the npm package onnxruntime-web")
    expect_refused(
        ganlet("export", own_run, "--to", "web", "--wasm", tmp_path / "none"), "is not the npm package onnxruntime-web"
    )
