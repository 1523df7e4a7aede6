"""Which TensorRT is installed, without importing it: TensorRT for RTX (cards), and TensorRT (Jetson, servers)."""

from importlib import metadata

RTX, CLASSIC = "tensorrt_rtx", "tensorrt"  # the modules
NAMES = {RTX: "TensorRT for RTX", CLASSIC: "TensorRT"}
EXPORTS = {RTX: "trt-rtx", CLASSIC: "tensorrt"}
"""Module -> the target of `ganlet export` that makes its engines."""
REMEDIES = {
    RTX: 'run `pip install "ganlet[trt]"`',
    CLASSIC: "run `pip install tensorrt --extra-index-url https://pypi.nvidia.com`, or use JetPack's own on a Jetson",
}
_CUDAS = ("", "-cu13", "-cu12")


def package_version(module: str) -> str | None:
    """Version of the installed package of a module; None where it is not installed."""
    for suffix in _CUDAS:
        try:
            return metadata.version(module.replace("_", "-") + suffix)
        except metadata.PackageNotFoundError:
            continue
    return None


def installed_tensorrts() -> dict[str, str]:
    """Module -> version, of those that are installed."""
    return {module: version for module in NAMES if (version := package_version(module)) is not None}
