from itertools import pairwise

import pytest
import torch

from tomoseg.config import NetworkConfig
from tomoseg.models.folder import count_parameters
from tomoseg.networks.build import build_network, set_prior_bias
from tomoseg.networks.unet import UNet

GUIDE = (32, 64, 128, 256, 512)
SMALL = (8, 16, 24)


def parameters_by_hand(inputs, structures, channels, dims=2):
    """Convolutions with bias, two numbers a channel for each normalisation."""

    def block(source, width):
        return 3**dims * source * width + width + 3**dims * width * width + width + 2 * 2 * width

    encoder = sum(block(source, width) for source, width in zip((inputs, *channels[:-1]), channels, strict=True))
    decoder = sum(2**dims * deep * width + width + block(2 * width, width) for width, deep in pairwise(channels))
    return encoder + decoder + channels[0] * structures + structures


def shapes_through(network, images):
    """The output's shape of every block, in the order in which they run."""
    shapes, handles = [], []
    for name, modules in (("encoder", network.encoder), ("up", network.up), ("decoder", network.decoder)):
        for module in modules:
            hook = module.register_forward_hook
            handles.append(hook(lambda m, i, out, name=name: shapes.append((name, *out.shape[1:]))))
    with torch.inference_mode():
        shapes.append(("head", *network.eval()(images).shape[1:]))
    for handle in handles:
        handle.remove()
    return shapes


def test_the_guides_network_has_as_many_parameters_as_the_guide_says():
    network = build_network(NetworkConfig(), 1, 117)
    assert count_parameters(network) == parameters_by_hand(1, 117, GUIDE) == 7_769_237


@pytest.mark.parametrize(("inputs", "structures", "channels", "dims"), [(1, 1, (4, 8), 2), (3, 9, SMALL, 3)])
def test_parameters_of_other_networks(inputs, structures, channels, dims):
    network = UNet(inputs, structures, NetworkConfig(channels=channels, dims=dims))
    assert count_parameters(network) == parameters_by_hand(inputs, structures, channels, dims)


def test_every_level_has_the_shape_of_the_guides_figure():
    network = build_network(NetworkConfig(), 1, 117)
    e = 32  # an eighth of the figure's 256, to be quick
    assert shapes_through(network, torch.zeros(1, 1, e, e)) == [
        ("encoder", 32, e, e),
        ("encoder", 64, e // 2, e // 2),
        ("encoder", 128, e // 4, e // 4),
        ("encoder", 256, e // 8, e // 8),
        ("encoder", 512, e // 16, e // 16),
        ("up", 256, e // 8, e // 8),
        ("decoder", 256, e // 8, e // 8),
        ("up", 128, e // 4, e // 4),
        ("decoder", 128, e // 4, e // 4),
        ("up", 64, e // 2, e // 2),
        ("decoder", 64, e // 2, e // 2),
        ("up", 32, e, e),
        ("decoder", 32, e, e),
        ("head", 117, e, e),
    ]


def test_layers_are_those_of_the_guide():
    block = build_network(NetworkConfig(), 1, 117).encoder[0]
    assert [type(layer).__name__ for layer in block] == ["Conv2d", "BatchNorm2d", "ReLU"] * 2


def test_three_dimensions():
    network = build_network(NetworkConfig(dims=3, channels=SMALL), 2, 5)
    assert network.stride == 4
    assert shapes_through(network, torch.zeros(1, 2, 8, 4, 12)) == [
        ("encoder", 8, 8, 4, 12),
        ("encoder", 16, 4, 2, 6),
        ("encoder", 24, 2, 1, 3),
        ("up", 16, 4, 2, 6),
        ("decoder", 16, 4, 2, 6),
        ("up", 8, 8, 4, 12),
        ("decoder", 8, 8, 4, 12),
        ("head", 5, 8, 4, 12),
    ]


@pytest.mark.parametrize(("channels", "stride"), [((8, 8), 2), (SMALL, 4), (GUIDE, 16)])
def test_the_stride_is_that_of_the_poolings(channels, stride):
    config = NetworkConfig(channels=channels)
    network = build_network(config, 1, 1)
    assert config.stride == network.stride == stride
    assert network(torch.zeros(2, 1, stride, 2 * stride)).shape == (2, 1, stride, 2 * stride)
    with pytest.raises(RuntimeError, match="size"):
        network(torch.zeros(2, 1, stride + 1, stride))


def test_windows_are_input_channels():
    network = build_network(NetworkConfig(channels=SMALL), 3, 1)
    assert network.encoder[0][0].in_channels == 3


def test_skips_carry_the_input_past_the_bottleneck():
    network = build_network(NetworkConfig(channels=(8, 8)), 1, 1).eval()
    for up in network.up:
        torch.nn.init.zeros_(up.weight)
        torch.nn.init.zeros_(up.bias)
    image = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert network(image)[..., 2:-2, 2:-2].std() > 1e-4
        for block in network.decoder:
            block[0].weight[:, 8:] = 0
        assert network(image)[..., 2:-2, 2:-2].std() < 1e-6  # away from the padding at the edges


def test_group_normalisation_does_not_know_the_batch():
    images = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    for kind, same in (("group", True), ("batch", False)):
        network = build_network(NetworkConfig(channels=SMALL, normalisation=kind), 1, 2).train()
        alone, together = network(images[:1]), network(images)[:1]
        assert torch.allclose(alone, together, atol=1e-4) is same
    layer = build_network(NetworkConfig(channels=SMALL, normalisation="group"), 1, 2).encoder[2][1]
    assert (layer.num_groups, layer.num_channels) == (3, 24)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=SMALL, dropout=0.5), 1, 2)
    image = torch.randn(1, 1, 8, 8)
    assert not torch.equal(network.train()(image), network(image))
    assert torch.equal(network.eval()(image), network(image))
    whole_channels = network.encoder[0].train()(image)[0].flatten(1)
    assert 0 < int((whole_channels == 0).all(dim=1).sum()) < 8


def test_without_dropout_there_is_no_such_layer():
    layers = build_network(NetworkConfig(channels=SMALL), 1, 2).modules()
    assert not any(isinstance(layer, torch.nn.Dropout2d) for layer in layers)


def test_the_prior_bias_predicts_frequencies():
    network = build_network(NetworkConfig(channels=(8, 8)), 1, 4).eval()
    set_prior_bias(network, [0.25, 0.001, 0.0, 1.0])
    torch.nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        found = torch.sigmoid(network(torch.randn(1, 1, 4, 4)))[0, :, 0, 0]
    # Never and always are kept away from infinite logits.
    torch.testing.assert_close(found, torch.tensor([0.25, 0.001, 1e-5, 0.5]), rtol=1e-4, atol=1e-8)


def test_the_random_state_decides_the_weights():
    def weights(seed):
        torch.manual_seed(seed)
        return build_network(NetworkConfig(channels=(8, 8)), 1, 1).head.weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))
