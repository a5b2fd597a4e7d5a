"""A network's weights as a file of safetensors, and back."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from tomoseg.errors import ModelError
from tomoseg.networks.network import Network


def weights_of(network: Network, *, half: bool = False) -> bytes:
    """The content of a file of weights; the package's own way makes files that only their owner may read.

    Args:
        network: On any device.
        half: In 16 bits, which loses a thousandth of each at most.
    """
    weights = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    if half:
        weights = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    return save(weights)


def fill_network(network: Network, path: Path) -> Network:
    """The network with the weights of a file, in evaluation mode.

    Args:
        network: Its weights are replaced.
        path: A file of safetensors.

    Raises:
        ModelError: If the weights do not fit the network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: expected weights of the network in model.json, got: {reason}; train again") from None
    return network.eval()


def narrow_network(network: Network, narrow: Network, channels: tuple[int, ...]) -> Network:
    """A network that gives some of another's output channels.

    Args:
        network: Whose weights are taken.
        narrow: Of the same architecture, with as many outputs as there are channels; its weights are replaced.
        channels: Which, in order.
    """
    state = dict(network.state_dict())
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][list(channels)]
    narrow.load_state_dict(state)
    return narrow.eval()
