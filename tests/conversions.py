"""Conversions of networks to OpenVINO, each done once in a process: it takes a second, and many tests use the same."""

import hashlib
import io
import pickle


def keep_conversions(patch) -> None:
    """Replace the conversion by one that hands out copies of what it made of an equal network before."""
    import torch

    from tomoseg.models import conversion

    class Content(pickle.Pickler):
        def reducer_override(self, thing):
            if not isinstance(thing, torch.Tensor):
                return NotImplemented
            content = thing.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
            return tuple, ((str(thing.dtype), tuple(thing.shape), content),)

    convert, kept = conversion.convert_to_openvino, {}

    def convert_once(network, input_spec):
        conversion.import_openvino()  # refused where it is not installed, as in the conversion itself
        content = io.BytesIO()
        Content(content).dump((network, input_spec))
        key = hashlib.sha256(content.getvalue()).digest()
        if key not in kept:
            kept[key] = convert(network, input_spec)
        return kept[key].clone()

    patch.setattr(conversion, "convert_to_openvino", convert_once)
