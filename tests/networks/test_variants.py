"""Residual blocks, attention gates and transformers: equal to the plain network, or to MONAI, where they must be."""

import pytest
import torch
from monai.networks import nets

from tomoseg.config import NetworkConfig
from tomoseg.errors import ConfigError
from tomoseg.networks import transformers
from tomoseg.networks.blocks import AttentionGate, ResidualBlock
from tomoseg.networks.build import build_network

SMALL = (8, 16, 24)
VARIANTS = {
    "plain": {},
    "residual": {"residual": True},
    "attention": {"attention": True},
    "both": {"attention": True, "residual": True, "normalisation": "group"},
    "swin": {"kind": "swin_unetr", "channels": (12, 12)},
    "unetr 2D": {"kind": "unetr", "channels": (8, 32), "tile": (32, 32)},
}


def image(dims, edge=32, channels=1):
    return torch.randn(1, channels, *[edge] * dims, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dims", [2, 3])
def test_every_network_gives_logits_of_its_inputs_size_and_learns_in_every_layer(name, dims):
    settings = {"channels": SMALL, **VARIANTS[name], "dims": dims}
    if "tile" in settings:
        settings["tile"] = (32,) * dims
    network = build_network(NetworkConfig(**settings), 3, 5)
    edge = 64 if name == "swin" else 32  # instance normalisation needs more than one voxel at the bottom
    images = image(dims, edge, channels=3)
    logits = network(images)
    assert logits.shape == (1, 5, *[edge] * dims)
    assert network.features(images).shape[1] == network.widths[0] == network.head.in_channels
    (logits * torch.randn_like(logits)).sum().backward()
    learning = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    assert [name for name, p in learning if p.grad is None or not p.grad.any()] == []
    assert all("cross_attn" in name for name, p in network.named_parameters() if not p.requires_grad)


@pytest.mark.parametrize("variant", [{}, {"residual": True}, {"attention": True}])
def test_scales_are_the_decoder_from_fine_to_coarse(variant):
    network = build_network(NetworkConfig(channels=SMALL, **variant), 1, 2)
    scales = network.scales(image(2))
    assert [tuple(s.shape[1:]) for s in scales] == [(8, 32, 32), (16, 16, 16)]
    assert network.widths == (8, 16)


def test_attention_of_ones_is_the_plain_network():
    plain = build_network(NetworkConfig(channels=SMALL), 1, 3).eval()
    gated = build_network(NetworkConfig(channels=SMALL, attention=True), 1, 3).eval()
    gated.load_state_dict(plain.state_dict(), strict=False)
    assert not torch.allclose(gated(image(2)), plain(image(2)))
    for gate in gated.gates:
        torch.nn.init.zeros_(gate.weight.weight)
        torch.nn.init.constant_(gate.weight.bias, 100)  # the sigmoid of 100 is 1 in float32
    assert torch.equal(gated(image(2)), plain(image(2)))


def test_an_attention_gate_by_hand():
    gate = AttentionGate(2, 2)
    for parameter in gate.parameters():
        torch.nn.init.constant_(parameter, 1)
    skip, rises = torch.tensor([[[[1.0]], [[-3.0]]]]), torch.tensor([[[[2.0]], [[1.0]]]])
    # of the skip 1 - 3 + 1, of the gate 2 + 1: relu(2) + 1 is 3
    expected = skip * torch.sigmoid(torch.tensor(3.0))
    assert torch.allclose(gate(skip, rises), expected)


def test_a_residual_block_whose_convolutions_are_zero_passes_its_input():
    block = ResidualBlock(8, 8, 2, "group", 0.0)
    torch.nn.init.zeros_(block.convolutions[4].weight)
    torch.nn.init.zeros_(block.convolutions[4].bias)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(block(x), torch.relu(x))
    assert len(ResidualBlock(8, 16, 3, "batch", 0.1).shortcut) == 2


@pytest.mark.parametrize("dims", [2, 3])
def test_transformers_are_those_of_monai(dims):
    swin = build_network(NetworkConfig(kind="swin_unetr", channels=(12, 12), dims=dims), 1, 4).eval()
    whole = nets.SwinUNETR(1, 4, feature_size=12, spatial_dims=dims).eval()
    tile = (32,) * dims
    unetr = build_network(NetworkConfig(kind="unetr", channels=(8, 32), dims=dims, tile=tile), 1, 4).eval()
    other = nets.UNETR(1, 4, tile, 8, 32, 128, 1, spatial_dims=dims).eval()
    for mine, theirs in ((swin, whole), (unetr, other)):
        state = {f"net.{name}": value for name, value in theirs.state_dict().items() if not name.startswith("out.")}
        head = {f"head.{part}": theirs.state_dict()[f"out.conv.conv.{part}"] for part in ("weight", "bias")}
        mine.load_state_dict(state | head)
        with torch.inference_mode():
            images = image(dims, 64 if mine is swin else 32)
            assert torch.allclose(mine(images), theirs(images), atol=1e-5)


def test_transformers_need_monai(monkeypatch):
    monkeypatch.setattr(transformers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'expected MONAI .* run: pip install "tomoseg\[transformers\]", or use kind'):
        build_network(NetworkConfig(kind="swin_unetr", channels=(12, 12)), 1, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "swin_unetr", "channels": (16, 16)}, "multiples of 12"),
        ({"kind": "unetr", "channels": (16, 48), "tile": (32, 32)}, "last channels in multiples of 32"),
        ({"kind": "unetr", "channels": (16, 64)}, "needs tile, such as 96 96"),
        ({"kind": "unetr", "channels": (16, 64), "tile": (32, 40)}, "2 edges in multiples of 16"),
        ({"kind": "swin_unetr", "channels": (12, 12), "attention": True}, "applies to kind unet, got swin_unetr"),
        ({"dims": 3, "channels": SMALL, "tile": (8, 8)}, "3 edges in multiples of 4, got .8, 8."),
        ({"dims": 3, "channels": SMALL, "tile": (8, 8, 6)}, "3 edges in multiples of 4, got .8, 8, 6."),
        ({"tile": (32, 32)}, "the size of slices is sampling.patch_size"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        NetworkConfig(**settings)
