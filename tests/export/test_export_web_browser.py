"""The page in a real browser, which no network can be reached from: it draws what the CPU sampler draws."""

import base64
import io
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from browser import NEEDS_BROWSER, SECONDS, Browser, Tab, browser, served
from ganlet.device import OnnxRunner, Sampler, latents
from ganlet.device.feed import latent_dim
from ganlet.device.latents import labels
from ganlet.device.pictures import to_uint8
from ganlet.export.web import CDN, GLUE, LOADER, MODEL, WASM, Subject, export_web

pytestmark = [pytest.mark.slow, NEEDS_BROWSER]

KITTENS = Path(__file__).parents[2] / "exported" / "kittens" / "generator.onnx"
STILL = "!painting && by('sheet').getAttribute('aria-busy') === 'false'"
FAULT = "document.querySelector('#fault').textContent"
LARGEST = (2**64 - 1, 2**63 - 1)
PLACES = [(0, 0), (0, 1), (7, 3), (2**53 + 1, 2**40), LARGEST]  # seed, index

# What of a browser's calls an old or an insecure one lacks, taken away before the page's scripts run.
NO_WASM = "delete globalThis.WebAssembly"
NO_CRYPTO = "Object.defineProperty(Crypto.prototype, 'subtle', {value: undefined})"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, wasm: Path) -> Path:
    """The kittens' page with its runtime beside it."""
    return exported(KITTENS, tmp_path_factory.mktemp("kittens"), wasm)


@pytest.fixture
def own_page(page: Path, tmp_path: Path) -> Path:
    """The same to be changed: remove a file before writing another of its name, for the two are links."""
    return Path(shutil.copytree(page, tmp_path / "web", copy_function=os.link))


def exported(model: Path, run: Path, wasm: Path | None) -> Path:
    runner = OnnxRunner(model)
    subject = Subject(model, "kittens", "fp32", runner.ports, runner.picture_shape)
    return export_web(run, subject, wasm)[-1].parent


def opened(chromium: Browser, address: str, before: str = "") -> Tab:
    """A page that has drawn its first pictures, and has neither asked for nor complained about anything."""
    tab = chromium.tab()
    if before:
        tab.send("Page.addScriptToEvaluateOnNewDocument", source=before)
    tab.open(address)
    tab.wait_for(f"{STILL} || {FAULT}")
    return tab


def expect_clean(tab: Tab, own: str) -> None:
    assert tab.evaluate(FAULT) == "" and tab.complaints == []
    assert tab.requests and [a for a in tab.requests if not a.startswith((own, "blob:", "data:"))] == []


def expect_fault(tab: Tab, *words: str) -> None:
    sentence = tab.evaluate(FAULT)
    assert all(word in sentence for word in words) and sentence.endswith("."), sentence
    assert tab.evaluate("document.querySelector('#fault').checkVisibility() && by('controls').disabled")


def change(tab: Tab, field: str, value: object, event: str = "change") -> None:
    tab.evaluate(f"by('{field}').value = '{value}'; by('{field}').dispatchEvent(new Event('{event}'))")
    tab.wait_for(STILL)


def press(tab: Tab, selector: str) -> None:
    tab.evaluate(f"document.querySelector('{selector}').click()")
    tab.wait_for(STILL)


def pixels(tab: Tab, selector: str = "#picture") -> NDArray[np.uint8]:
    """uint8 (H, W, 3) of a canvas."""
    found = tab.evaluate(f"document.querySelector('{selector}').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found.split(",")[1]))).convert("RGB"))


def expect_same(got: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Equal to 1/255, and mostly to the bit."""
    apart = np.abs(got.astype(int) - np.broadcast_to(expected, got.shape).astype(int))
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01 and got.std() > 5, (apart.max(), (apart > 0).mean())


def spherical(a: NDArray[np.float32], b: NDArray[np.float32], t: float) -> NDArray[np.float32]:
    """Turned by `t` of the angle between them; slerp by its parts along `a` and at a right angle to it."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    angle = np.arccos(x @ y / np.linalg.norm(x) / np.linalg.norm(y))
    part = np.sin(t * angle) / np.sin(angle)
    return np.float32((np.cos(t * angle) - part * np.cos(angle)) * x + part * y)


def test_latents_and_labels_are_those_of_python(chromium: Browser, page: Path) -> None:
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html")
        for seed, index in [*PLACES, *((seed, 5 * seed) for seed in range(20))]:
            for size in (1, 7, 100):
                got = tab.evaluate(f"Array.from(latent({seed}n, {index}n, {size}))")
                assert np.array_equal(np.float32(got), latents(seed, index, 1, size)[0])
            assert tab.evaluate(f"label({seed}n, {index}n, 10)") == labels(seed, index, 1, 10)[0]
        tab.close()


@pytest.mark.parametrize("from_disk", [False, True])
def test_pictures_are_the_samplers_and_nothing_else_is_asked_for(
    chromium: Browser, page: Path, from_disk: bool
) -> None:
    sampler = Sampler(KITTENS, provider="cpu")
    with served(page) as server:
        own = page.as_uri() if from_disk else server
        tab = opened(chromium, f"{own}/index.html")
        for seed, index in PLACES:
            change(tab, "seed", seed)
            change(tab, "number", index)
            expect_same(pixels(tab), sampler.images(index, 1, seed)[0])
            assert tab.evaluate("by('picture').getAttribute('aria-label')") == f"Seed {seed}, picture {index}"
            assert float(tab.evaluate("by('time').textContent").split()[2]) > 0  # drawn in 1.2 ms
        expect_clean(tab, own)
        tab.close()


def test_the_grid_and_its_buttons(chromium: Browser, page: Path) -> None:
    sampler = Sampler(KITTENS, provider="cpu")
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html")
        for first, button in ((0, ""), (16, "#later"), (0, "#earlier")):
            if button:
                press(tab, button)
            expected = sampler.images(first, 16)
            for i in range(16):
                expect_same(pixels(tab, f"#sheet button:nth-child({i + 1}) canvas"), expected[i])
        press(tab, "#sheet button:nth-child(6)")
        expect_same(pixels(tab), expected[5])
        assert tab.evaluate("by('sheet').querySelectorAll('[aria-pressed=true]').length") == 1
        press(tab, "#next")
        expect_same(pixels(tab), expected[6])
        press(tab, "#any")
        seed = int(tab.evaluate("by('seed').value"))
        expect_same(pixels(tab), sampler.images(6, 1, seed)[0])
        expect_same(pixels(tab, "#sheet button:last-child canvas"), sampler.images(15, 1, seed)[0])
        expect_clean(tab, own)
        tab.close()


def test_the_walk_between_two_seeds(chromium: Browser, page: Path) -> None:
    runner = OnnxRunner(KITTENS, provider="cpu")
    a, b = (latents(seed, 0, 1, latent_dim(runner.ports))[0] for seed in (0, 9))
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html")
        change(tab, "other", 9)
        for way, z in {"spherical": spherical(a, b, 0.37), "linear": 0.63 * a + 0.37 * b}.items():
            press(tab, f"#{way}")
            change(tab, "walk", 37, "input")
            expect_same(pixels(tab), to_uint8(runner({"z": np.float32(z)[None]}))[0])
            assert tab.evaluate("by('caption').textContent") == "Seed 0 to 9 at 37 %, picture 0"
            change(tab, "walk", 100, "input")
            expect_same(pixels(tab), to_uint8(runner({"z": b[None]}))[0])
        for t in range(100, 0, -5):  # faster than it can draw: the last wish counts
            tab.evaluate(f"by('walk').value = {t}; by('walk').dispatchEvent(new Event('input'))")
        tab.wait_for(STILL)
        assert tab.evaluate("by('caption').textContent") == "Seed 0 to 9 at 5 %, picture 0"
        expect_same(pixels(tab), to_uint8(runner({"z": np.float32(0.95 * a + 0.05 * b)[None]}))[0])
        expect_clean(tab, own)
        tab.close()


def test_a_class_may_be_chosen_of_a_conditional_grey_generator(chromium: Browser, tmp_path: Path, wasm: Path) -> None:
    random = np.random.default_rng(0)
    tables = {"table": (3, 8), "weight": (8, 64)}
    constants = [numpy_helper.from_array(np.float32(random.standard_normal(s)), n) for n, s in tables.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 1, 8, 8]), "shape"))
    nodes = [
        helper.make_node("Gather", ["table", "label"], ["row"]),
        helper.make_node("Mul", ["z", "row"], ["zy"]),
        helper.make_node("MatMul", ["zy", "weight"], ["flat"]),
        helper.make_node("Tanh", ["flat"], ["tanh"]),
        helper.make_node("Reshape", ["tanh", "shape"], ["images"]),
    ]
    inputs = [
        helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 8]),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]),
    ]
    output = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 8, 8])
    graph = helper.make_graph(nodes, "conditional", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {"ganlet_schema": "1", "latent": "8", "range": "-1,1", "classes": "3"})
    onnx.save(model, tmp_path / "generator.onnx")
    folder = exported(tmp_path / "generator.onnx", tmp_path, wasm)
    sampler = Sampler(tmp_path / "generator.onnx", provider="cpu")
    with served(folder) as own:
        tab = opened(chromium, f"{own}/index.html")
        for number in (0, 1, 2):
            change(tab, "number", number)
            expect_same(pixels(tab), sampler.images(number, 1)[0])
        change(tab, "class", 2)
        expect_same(pixels(tab), sampler.images(2, 1, label=2)[0])
        expect_same(pixels(tab, "#sheet button:last-child canvas"), sampler.images(15, 1, label=2)[0])
        expect_clean(tab, own)
        tab.close()


def test_a_download_is_the_picture(chromium: Browser, page: Path, tmp_path: Path) -> None:
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html")
        chromium.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        change(tab, "number", 4)
        tab.evaluate("by('save').click()")
        path, end = tmp_path / "kittens-seed-0-picture-4.png", time.monotonic() + SECONDS
        while not path.is_file() and time.monotonic() < end:
            time.sleep(0.02)
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            expect_same(np.asarray(picture.convert("RGB")), Sampler(KITTENS).images(4, 1)[0])
        expect_clean(tab, own)
        tab.close()


def test_a_wrong_number_gets_a_sentence_and_changes_nothing(chromium: Browser, page: Path) -> None:
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html")
        before = pixels(tab)
        for field, value in (("seed", 2**64), ("seed", "-1"), ("number", 2**63), ("other", "a cat"), ("seed", "")):
            change(tab, field, value)
            sentence = tab.evaluate(FAULT)
            assert f'"{value}"; expected a whole number from 0 to ' in sentence, sentence
            assert tab.evaluate(f"by('{field}').getAttribute('aria-invalid')") == "true"
        assert np.array_equal(pixels(tab), before)
        change(tab, "seed", 0)
        expect_clean(tab, own)
        tab.close()


def test_a_runtime_by_version_is_checked_before_it_runs(chromium: Browser, tmp_path: Path, wasm: Path) -> None:
    folder = exported(KITTENS, tmp_path, None)
    base = CDN.format(version="1.30.0")
    right = {base + name: (wasm / "dist" / name).read_bytes() for name in (LOADER, GLUE, WASM)}

    def visit(answers: dict[str, bytes], address: str) -> Tab:
        tab = chromium.tab()
        tab.answer(answers)
        tab.open(address)
        tab.wait_for(f"{STILL} || {FAULT}")
        return tab

    with served(folder) as server:
        for own in (server, folder.as_uri()):
            tab = visit(right, f"{own}/index.html")
            assert tab.evaluate(FAULT) == "" and tab.complaints == []
            assert {a for a in tab.requests if a.startswith("https:")} == right.keys()
            expect_same(pixels(tab), Sampler(KITTENS).images(0, 1)[0])
            tab.close()
        for name, words in ((LOADER, "could not be loaded from https://cdn"), (GLUE, f"{GLUE} is not the file that")):
            tab = visit(right | {base + name: right[base + name] + b"\n"}, f"{server}/index.html")
            expect_fault(tab, words)
            tab.close()


def test_a_missing_or_changed_file_gets_a_sentence(chromium: Browser, own_page: Path) -> None:
    def replaced(name: str, content: bytes | None, *words: str, before: str = "", disk: bool = False) -> None:
        path = own_page / name
        kept = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with served(own_page) as server:
            tab = opened(chromium, f"{own_page.as_uri() if disk else server}/index.html", before)
            expect_fault(tab, *words)
            tab.close()
        path.unlink(missing_ok=True)
        path.write_bytes(kept)

    changed = bytearray((own_page / MODEL).read_bytes())
    changed[len(changed) // 2] ^= 1
    replaced(MODEL, None, f"{MODEL} is missing (404)")
    replaced(MODEL, bytes(changed), f"{MODEL} is not the file that was exported", "SHA-256")
    replaced(MODEL, bytes(changed), f"{MODEL} could not be read", before=NO_CRYPTO)
    replaced(LOADER, None, "ONNX Runtime Web could not be loaded")
    replaced(f"disk/{MODEL}.js", None, f"disk/{MODEL}.js is missing", disk=True)
    handed = (own_page / "disk" / f"{MODEL}.js").read_bytes()
    replaced(f"disk/{MODEL}.js", handed[: len(handed) // 2], f"disk/{MODEL}.js is missing or cut short", disk=True)


def test_a_browser_without_webassembly_or_crypto(chromium: Browser, page: Path) -> None:
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html", NO_WASM)
        expect_fault(tab, "This browser has no WebAssembly")
        tab.close()
        tab = opened(chromium, f"{own}/index.html", NO_CRYPTO)  # as by http from another machine
        expect_same(pixels(tab), Sampler(KITTENS).images(0, 1)[0])
        assert "is checked" in tab.evaluate("by('checked').textContent")  # by the browser, as it fetches
        expect_clean(tab, own)
        tab.close()
    tab = opened(chromium, (page / "index.html").as_uri(), NO_CRYPTO)
    assert "was not checked" in tab.evaluate("by('checked').textContent")
    tab.close()


def test_a_phone_does_not_scroll_it_sideways_and_everything_has_a_name(chromium: Browser, page: Path) -> None:
    with served(page) as own:
        tab = opened(chromium, f"{own}/index.html")
        for width_px, height_px in ((390, 844), (320, 568), (1280, 800)):
            tab.resize(width_px, height_px)
            assert tab.evaluate("document.documentElement.scrollWidth") == width_px
        tab.resize(390, 844)
        touched = "#controls :is(button, input:not([type=radio]), label:has(input)), .row button, #sheet button"
        boxes = f"[...document.querySelectorAll('{touched}')].map((e) => e.getBoundingClientRect().height)"
        assert min(height for height in tab.evaluate(boxes) if height) >= 44  # pixels, for a thumb
        assert tab.evaluate("by('walk').getBoundingClientRect().bottom") < 844  # seen together with the picture
        nodes = tab.send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "textbox", "slider", "radio", "combobox", "image", "link"}
        named = [(n["role"]["value"], n["name"]["value"]) for n in nodes if n.get("role", {}).get("value") in roles]
        assert len(named) >= 28 and all(name for _, name in named), named
        colours = {}
        for dark in (False, True):
            tab.resize(390, 844, dark=dark)
            colours[dark] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert colours == {False: "rgb(255, 255, 255)", True: "rgb(20, 23, 26)"}
        expect_clean(tab, own)
        tab.close()
