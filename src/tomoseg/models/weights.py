"""Reading and writing a network's weights as safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from tomoseg.errors import ModelError
from tomoseg.networks.network import Network


def weights_of(network: Network, *, half: bool = False) -> bytes:
    """Return the content of a weights file; safetensors' own `save_file` makes files that only their owner can read.

    Args:
        network: The network, on any device.
        half: Store 16-bit floats, with a relative error of at most a thousandth.
    """
    weights = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    if half:
        weights = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    return save(weights)


def fill_network(network: Network, path: Path) -> Network:
    """Load the weights of a file into a network, and return it in evaluation mode.

    Args:
        network: Its weights are replaced.
        path: A safetensors file.

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
    """Copy a network's weights into one with some of its output channels, and return that in evaluation mode.

    Args:
        network: The source of the weights.
        narrow: A network of the same architecture with one output per channel; its weights are replaced.
        channels: Indices of the channels, in order.
    """
    state = dict(network.state_dict())
    for name in ("head.weight", "head.bias"):
        state[name] = state[name][list(channels)]
    narrow.load_state_dict(state)
    return narrow.eval()
