"""The catalogue of devices: sound entries, well-known figures, and every way to ask for one."""

from dataclasses import FrozenInstanceError, replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganlet.errors import GanletError
from ganlet.memory import devices
from ganlet.memory.devices import Device, device_of_memory, find_device, load_devices, parse_devices

DEVICES = load_devices()
EACH = pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
ENTRY = """[gtx-1]
name = "NVIDIA GeForce GTX 1"
memory_mib = 1024
unified = false
compute_capability = "7.5"
precisions = ["fp32"]
tensorrt_rtx = true
source = "https://www.nvidia.com/"
"""


@EACH
def test_entry_is_sound(device: Device) -> None:
    source = urlsplit(device.source)
    assert source.scheme == "https" and source.hostname in {"www.nvidia.com", "developer.nvidia.com"}
    assert device.name.startswith("NVIDIA Jetson " if device.unified else "NVIDIA GeForce ")
    assert device.key.startswith("jetson-") == device.unified
    assert 2048 <= device.memory_mib <= 131072 and device.memory_mib % 1024 == 0
    assert 0 < device.usable_mib < device.memory_mib
    assert len(set(device.precisions)) == len(device.precisions)
    if device.key.endswith("gb"):
        assert device.key.endswith(f"-{device.memory_mib // 1024}gb")


@EACH
def test_precisions_follow_compute_capability(device: Device) -> None:
    capability = device.compute_capability
    assert "fp32" in device.precisions
    assert ("fp16" in device.precisions) == (capability != (6, 1))  # 1/64 rate on consumer Pascal
    assert ("int8" in device.precisions) == (capability == (6, 1) or capability >= (7, 2))
    assert ("bf16" in device.precisions) == (capability >= (8, 0))
    assert ("fp8" in device.precisions) == (capability >= (8, 9))
    targets = {(7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1)}
    assert device.tensorrt_rtx == (capability in targets and not device.unified)


@EACH
def test_series_have_one_compute_capability(device: Device) -> None:
    series = {"10": (6, 1), "16": (7, 5), "20": (7, 5), "30": (8, 6), "40": (8, 9), "50": (12, 0)}
    if not device.unified:
        assert device.compute_capability == series[device.key.split("-")[1][:2]]


def test_keys_and_names_are_unique_after_normalisation() -> None:
    for texts in (list(DEVICES), [device.name for device in DEVICES.values()]):
        plain = [devices._plain(text) for text in texts]
        assert len(set(plain)) == len(plain) and "" not in plain


@pytest.mark.parametrize(
    ("key", "memory_gb", "capability"),
    [
        ("gtx-1050-ti", 4, (6, 1)),
        ("gtx-1060-3gb", 3, (6, 1)),
        ("gtx-1080-ti", 11, (6, 1)),
        ("gtx-1660-ti", 6, (7, 5)),
        ("gtx-1660-ti-max-q", 6, (7, 5)),
        ("rtx-2060-12gb", 12, (7, 5)),
        ("rtx-2080-ti", 11, (7, 5)),
        ("rtx-3060-laptop", 6, (8, 6)),
        ("rtx-3080-10gb", 10, (8, 6)),
        ("rtx-3090", 24, (8, 6)),
        ("rtx-4070-laptop", 8, (8, 9)),
        ("rtx-4090", 24, (8, 9)),
        ("rtx-5090", 32, (12, 0)),
        ("rtx-5090-laptop", 24, (12, 0)),
        ("jetson-nano", 4, (5, 3)),
        ("jetson-tx2", 8, (6, 2)),
        ("jetson-xavier-nx-16gb", 16, (7, 2)),
        ("jetson-agx-orin-64gb", 64, (8, 7)),
        ("jetson-t5000", 128, (11, 0)),
    ],
)
def test_well_known_figures(key: str, memory_gb: int, capability: tuple[int, int]) -> None:
    assert (DEVICES[key].memory_mib, DEVICES[key].compute_capability) == (memory_gb * 1024, capability)


@EACH
def test_key_and_name_find_the_device(device: Device) -> None:
    for text in (device.key, device.name, device.key.upper(), device.key.replace("-", ""), f" {device.name.lower()} "):
        assert find_device(text) == device, text


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("GTX 1660 Ti", "gtx-1660-ti"),
        ("gtx1660ti", "gtx-1660-ti"),
        ("GeForce GTX 1660 Ti 6 GB", "gtx-1660-ti"),
        ("1660 ti", "gtx-1660-ti"),
        ("GTX 1660 Ti (Max-Q)", "gtx-1660-ti-max-q"),
        ("NVIDIA GeForce GTX 1660 Ti with Max-Q Design", "gtx-1660-ti-max-q"),
        ("RTX 4060 Ti 16 GB", "rtx-4060-ti-16gb"),
        ("4090", "rtx-4090"),
        ("RTX 3050 Laptop 6 GB", "rtx-3050-laptop-6gb"),
        ("NVIDIA GeForce RTX 3050 6GB Laptop GPU", "rtx-3050-laptop-6gb"),
        ("rtx 4070 mobile", "rtx-4070-laptop"),
        ("Orin Nano 8GB", "jetson-orin-nano-8gb"),
        ("NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
    ],
)
def test_other_ways_to_name_a_device(text: str, key: str) -> None:
    assert find_device(text).key == key


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("rtx 4060 ti", ["rtx-4060-ti-8gb", "rtx-4060-ti-16gb"]),
        ("NVIDIA GeForce RTX 3080", ["rtx-3080-10gb", "rtx-3080-12gb"]),
        ("3080 laptop", ["rtx-3080-laptop-8gb", "rtx-3080-laptop-16gb"]),
        ("Jetson AGX Orin", ["jetson-agx-orin-32gb", "jetson-agx-orin-64gb"]),
    ],
)
def test_ambiguous_name_says_which_ones_there_are(text: str, keys: list[str]) -> None:
    with pytest.raises(GanletError) as caught:
        find_device(text)
    assert f"({', '.join(keys)})" in str(caught.value) and "--vram-gb" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("gtx 1666 ti", "gtx-1660-ti"),
        ("rtx 4090 ti", "rtx-4090"),
        ("jetson thor", "jetson-agx-thor"),
        ("xavier", "jetson-agx-xavier-32gb"),
        ("gtx 1660 ti 12 gb", "gtx-1660-ti"),  # a size that was never sold is not passed over in silence
    ],
)
def test_unknown_name_lists_the_nearest(text: str, near: str) -> None:
    with pytest.raises(GanletError, match=r"No device is called .*nearest are .*--vram-gb\.$") as caught:
        find_device(text)
    assert near in str(caught.value).replace(",", " ").replace(":", " ").split()


@pytest.mark.parametrize("text", ["", "!!!", "qqqqqqqqqqqqqq", "x" * 100_000])
def test_name_with_nothing_near_it(text: str) -> None:
    with pytest.raises(GanletError, match=r"nothing is near it: give the memory with --vram-gb\.$") as caught:
        find_device(text)
    assert len(str(caught.value)) < 250


NAME_PARTS = ["gtx", "rtx", "jetson", "1660", "4060", "ti", "super", "laptop", "nano", "8gb", "16 GB", "-", " ", "™"]


@settings(max_examples=50, deadline=None)
@given(st.text() | st.lists(st.sampled_from(NAME_PARTS), max_size=6).map(" ".join))
def test_any_text_gives_a_device_or_a_ganlet_error(text: str) -> None:
    try:
        assert find_device(text) in DEVICES.values()
    except GanletError as error:
        assert "--vram-gb" in str(error)


def test_usable_memory_leaves_the_assumed_reserve() -> None:
    card, board = DEVICES["gtx-1660-ti"], DEVICES["jetson-agx-orin-32gb"]
    assert card.usable_mib == 6144 - 512
    assert board.usable_mib == 32768 - 8192
    assert DEVICES["jetson-nano"].usable_mib == 4096 - 1536
    assert replace(card, memory_mib=100).usable_mib == 0


@pytest.mark.parametrize(("vram_gb", "memory_mib"), [(6, 6144), (6.0, 6144), (1.5, 1536), (0.001, 1)])
def test_nameless_card(vram_gb: float, memory_mib: int) -> None:
    card = device_of_memory(vram_gb)
    assert card.memory_mib == memory_mib and f"{vram_gb:g} GB" in card.name
    assert not card.unified and not card.tensorrt_rtx and card.precisions == ("fp32",)


@pytest.mark.parametrize("vram_gb", [0, -6, float("nan"), float("inf"), -float("inf"), 1e308, 1e-9])
def test_memory_that_no_card_has(vram_gb: float) -> None:
    with pytest.raises(GanletError, match=r"--vram-gb is .* above 0"):
        device_of_memory(vram_gb)


def test_what_is_handed_out_cannot_change_the_catalogue() -> None:
    load_devices().clear()
    assert load_devices() == DEVICES
    with pytest.raises(FrozenInstanceError):
        DEVICES["gtx-1660-ti"].memory_mib = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("[gtx-1]", "[gtx-1", "is not TOML"),
        ("[gtx-1]", "gtx-2 = 1\n[gtx-1]", "gtx-2: expected a table"),
        ("unified = false\n", "", "gtx-1: expected the fields"),
        ("1024", "true", "memory_mib must be of type int"),
        ("1024", "0", "memory_mib must be above 0, got 0"),
        ('"7.5"', '"75"', "compute_capability must look like 7.5, got '75'"),
        ('["fp32"]', '["fp16"]', "precisions must hold fp32"),
        ('["fp32"]', '["fp32", ["fp16"]]', "precisions must hold fp32"),
        ("www.nvidia.com", "notnvidia.com", "source must be a page on nvidia.com"),
    ],
)
def test_faulty_catalogue_is_refused(old: str, new: str, fault: str) -> None:
    assert parse_devices(ENTRY)["gtx-1"].memory_mib == 1024
    with pytest.raises(GanletError, match=fault.replace("(", r"\(")):
        parse_devices(ENTRY.replace(old, new))


def test_tensorrt_targets_name_the_capability() -> None:
    assert find_device("gtx-1660-ti").tensorrt_targets == ("sm75",)
    assert find_device("gtx-1050-ti").tensorrt_targets == ()
    assert device_of_memory(6).tensorrt_targets == ()
