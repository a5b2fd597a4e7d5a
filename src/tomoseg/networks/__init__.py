"""The networks, and packed masks as tensors."""
