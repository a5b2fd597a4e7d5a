"""nnU-Net's networks against functions of their tensors."""

import numpy as np
import pytest
import torch

from tests.nnunet_files import FLAT, Made, dataset_of, logits_of, plans_of, weights_of, with_copies
from tomoseg.models.nnunet.checkpoint import Checkpoint, network_of
from tomoseg.models.nnunet.plans import training_of

NETWORKS = {
    "plain": Made(),
    "residual": Made(kind="ResidualEncoderUNet"),
    "residual of one width": Made(kind="ResidualEncoderUNet", features=(6, 6, 6)),
    "slices": Made(**FLAT),
    "residual slices": Made(kind="ResidualEncoderUNet", **FLAT),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_functions(tmp_path, name, rng):
    made = NETWORKS[name]
    weights = weights_of(made)
    training = training_of(plans_of(made), dataset_of(made), "3d_fullres", "made")
    torch.save(weights, tmp_path / "checkpoint.pth")  # whose size is compared with what the tensors take
    checkpoint = Checkpoint(tmp_path / "checkpoint.pth", weights, "3d_fullres", "nnUNetTrainer", ())
    image = rng.normal(size=made.patch).astype(np.float32)
    expected = logits_of(made, weights, image)
    with torch.inference_mode():
        batch = torch.from_numpy(image)[None, None]
        every = network_of(checkpoint, training.network, made.heads, exclusive=False)(batch)[0].numpy()
        above = network_of(checkpoint, training.network, made.heads, exclusive=True)(batch)[0].numpy()
    np.testing.assert_allclose(every, expected, atol=2e-4)
    np.testing.assert_allclose(above, expected[1:] - expected[:1], atol=2e-4)


def test_a_checkpoint_has_each_tensor_under_other_names_too():
    assert len(with_copies(weights_of(Made()))) > 2 * len(weights_of(Made()))
