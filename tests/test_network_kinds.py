"""What is known of each kind of network is what the network itself says, and is known without torch."""

import subprocess
import sys
from pkgutil import resolve_name
from typing import get_args

import pytest

from tomoseg.errors import ConfigError
from tomoseg.network_kinds import NETWORKS, NetworkConfig, NetworkName
from tomoseg.networks.build import build_network
from tomoseg.networks.network import Network

SMALLEST = {
    "unet": {"channels": (8, 16, 24)},
    "swin_unetr": {"channels": (12, 12)},
    "unetr": {"channels": (8, 32), "tile": (32, 32)},
}


def test_the_names_and_their_help_are_those_of_the_records():
    assert get_args(NetworkName) == tuple(NETWORKS)
    help_text = NetworkConfig.model_fields["kind"].description
    assert all(f"`{name}`: {kind.summary}" in help_text for name, kind in NETWORKS.items())


def test_an_unknown_name_is_refused():
    with pytest.raises(ConfigError, match=r"expected one of 3 known names, got 'unett'; did you mean 'unet'\?$"):
        NetworkConfig(kind="unett")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_kind_builds_a_network_of_its_stride(name):
    config = NetworkConfig(kind=name, **SMALLEST[name])
    assert issubclass(resolve_name(NETWORKS[name].made_by), Network)
    network = build_network(config, 2, 3)
    assert isinstance(network, resolve_name(NETWORKS[name].made_by))
    assert network.stride == config.stride


# In widths of the first level and 4 bytes: 9 of a U-Net; a transformer's residual blocks hold more.
@pytest.mark.parametrize(
    ("name", "dims", "widths"),
    [("unet", 2, 9), ("unet", 3, 9), ("swin_unetr", 2, 16), ("swin_unetr", 3, 24), ("unetr", 2, 16)],
)
def test_the_memory_of_feature_maps(name, dims, widths):
    config = NetworkConfig(kind=name, **SMALLEST[name], dims=dims)
    assert NETWORKS[name].activation_bytes(config) == 4 * widths * config.channels[0]


def test_what_a_network_reads_of_a_scan_is_known_without_torch():
    code = "import sys, tomoseg.networks.images, tomoseg.network_kinds; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
