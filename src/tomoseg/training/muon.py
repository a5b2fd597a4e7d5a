"""Muon: kernels of convolutions step equally far in all directions; all other parameters take the steps of AdamW.

The gradient of a kernel, seen as a matrix of outputs by inputs, has a few large singular values and many small ones, so
a step along it learns little beside what dominates. Muon replaces them all by about 1, so that rare directions are
learned as fast as common ones.

Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). Steps grow with the root of
the matrix's longer edge as in J. Liu et al., "Muon is Scalable for LLM Training" (2025), and are longer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from tomoseg.config import OptimizerConfig

SCALE = 0.5
"""Length of a kernel's steps, as the root mean square of a square matrix's elements at learning rate 1."""

ITERATIONS = 3
"""Iterations of the polynomial; five learn as much, and cost more."""

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""The authors' polynomial: it moves every singular value between about 0.01 and 1 near to 1 in few iterations."""


class Muon(Optimizer):
    """Muon for the kernels of convolutions that are larger than 1, AdamW for all other parameters.

    Args:
        parameters: The parameters.
        config: Learning rate, weight decay and `momentum`; `betas` and `eps` for what AdamW steps.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> None:
        given = list(parameters)
        others = [p for p in given if not is_kernel(p)]
        super().__init__(
            [{"params": [p for p in given if is_kernel(p)]}, {"params": others}], {"lr": config.learning_rate}
        )
        self._momentum, self._weight_decay = config.momentum, config.weight_decay
        self._adamw = AdamW(
            others,
            lr=config.learning_rate,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; closures are not supported."""
        assert closure is None
        kernels, others = self.param_groups
        self._adamw.param_groups[0]["lr"] = others["lr"]
        self._adamw.step()
        for kernel in kernels["params"]:
            if kernel.grad is not None:
                self._step(kernel, kernel.grad, kernels["lr"])

    def _step(self, kernel: nn.Parameter, gradient: Tensor, rate: float) -> None:
        state = self.state[kernel]
        if not state:
            state["average"] = torch.zeros_like(gradient)
        average = state["average"].lerp_(gradient, 1 - self._momentum)
        direction = orthogonalised(gradient.lerp(average, self._momentum).flatten(1))
        kernel.mul_(1 - rate * self._weight_decay)
        kernel.add_(direction.reshape(kernel.shape), alpha=-rate * SCALE * max(direction.shape) ** 0.5)

    def state_dict(self) -> dict[str, Any]:
        """Return the kernels' averages, and AdamW's state as `adamw`."""
        return {**super().state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the result of `state_dict`."""
        super().load_state_dict({key: state_dict[key] for key in ("state", "param_groups")})
        self._adamw.load_state_dict(state_dict["adamw"])


def is_kernel(parameter: Tensor) -> bool:
    """Whether a parameter is the kernel of a convolution that sees more than one voxel.

    Args:
        parameter: Of shape (out, in, x, y[, z]) if it is a kernel.
    """
    return parameter.ndim >= 4 and max(parameter.shape[2:]) > 1


def orthogonalised(matrix: Tensor) -> Tensor:
    """Bring the singular values of a matrix near to 1, and keep its singular vectors.

    Args:
        matrix: Of shape (a, b).

    Example:
        >>> found = orthogonalised(torch.diag(torch.tensor([3.0, 0.3])))
        >>> [round(value, 1) for value in found.diag().tolist()]
        [0.7, 0.7]
    """
    a, b, c = COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp_min(1e-7)
    gram = x @ x.T  # all that follows is a polynomial of it, so that the longer edge is met only twice
    total = None
    for iteration in range(ITERATIONS):
        factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal().add_(a)
        total = factor if total is None else total @ factor
        if iteration < ITERATIONS - 1:
            gram = factor @ gram @ factor
    assert total is not None
    x = total @ x
    return x if wide else x.T
