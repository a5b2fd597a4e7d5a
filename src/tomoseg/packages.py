"""Optional packages, and the extras of tomoseg that install them."""

from __future__ import annotations

import importlib.util
from typing import Any

from tomoseg.errors import ConfigError

EXTRAS = {
    "torch": ("PyTorch", "train"),
    "onnx": ("onnx", "export"),
    "onnxruntime": ("ONNX Runtime", "export"),
    "onnxscript": ("onnxscript", "export"),
    "nncf": ("NNCF", "export"),
    "tensorboard": ("TensorBoard", "tensorboard"),
    "wandb": ("Weights & Biases", "wandb"),
    "mlflow": ("MLflow", "mlflow"),
    "monai": ("MONAI", "transformers"),
    "einops": ("einops", "transformers"),
    "fastapi": ("FastAPI", "serve"),
    "uvicorn": ("uvicorn", "serve"),
    "python_multipart": ("python-multipart", "serve"),
    "obstore": ("obstore", "stores"),
    "skimage": ("scikit-image", "meshes"),
    "ray": ("Ray", "ray"),
    "submitit": ("submitit", "slurm"),
}
"""By module: name of the package in messages, and the extra of tomoseg that installs it."""


def is_installed(module: str) -> bool:
    """Whether a package is installed; it is not imported.

    Args:
        module: Name of its module.
    """
    return importlib.util.find_spec(module) is not None


def require_installed(*modules: str) -> None:
    """Check that packages are installed.

    Args:
        modules: Names of their modules, each one of `EXTRAS`.

    Raises:
        ConfigError: If one is missing; the message says what to install.
    """
    for module in modules:
        if not is_installed(module):
            raise ConfigError(missing(module))


def missing(module: str) -> str:
    """Return the message for a package that is not installed.

    Args:
        module: Name of its module.

    Example:
        >>> missing("torch")
        'expected PyTorch, found none; run: pip install "tomoseg[train]"'
    """
    name, extra = EXTRAS.get(module, (module, "train"))
    return f'expected {name}, found none; run: pip install "tomoseg[{extra}]"'


def require_torch() -> Any:
    """Import PyTorch and return it.

    Raises:
        ConfigError: If it is not installed.
    """
    require_installed("torch")
    import torch

    return torch
