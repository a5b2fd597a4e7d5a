"""Packages that only some installations have, and what to install for them."""

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
"""By module: how people call the package, and tomoseg's extra that installs it."""


def is_installed(module: str) -> bool:
    """Whether a package is there; it is not imported.

    Args:
        module: As it is imported.
    """
    return importlib.util.find_spec(module) is not None


def require_installed(*modules: str) -> None:
    """Refuse to go on without some packages.

    Args:
        modules: As they are imported; each is one of `EXTRAS`.

    Raises:
        ConfigError: If one is missing; the message says what to install.
    """
    for module in modules:
        if not is_installed(module):
            raise ConfigError(missing(module))


def missing(module: str) -> str:
    """What is said of a package that is not installed.

    Args:
        module: As it is imported.

    Example:
        >>> missing("torch")
        'expected PyTorch, found none; run: pip install "tomoseg[train]"'
    """
    name, extra = EXTRAS.get(module, (module, "train"))
    return f'expected {name}, found none; run: pip install "tomoseg[{extra}]"'


def require_torch() -> Any:
    """PyTorch, imported now.

    Raises:
        ConfigError: If it is not installed.
    """
    require_installed("torch")
    import torch

    return torch
