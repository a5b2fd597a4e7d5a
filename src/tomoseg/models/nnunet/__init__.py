"""Import of models trained with nnU-Net; nothing in their files is ever executed."""
