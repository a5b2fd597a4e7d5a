"""Models trained with nnU-Net, read and turned into models of ours; nothing in their files is ever executed."""
