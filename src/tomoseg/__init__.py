"""Multi-label segmentation of CT: labelled scans in, a mask for each structure of a new scan out.

The names in `__all__` are the public interface. Each is loaded when it is first used, so that `import tomoseg` takes
milliseconds and loads neither NumPy nor torch. Everything else is private by convention and may move.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from tomoseg.version import __version__ as __version__

if TYPE_CHECKING:  # for type checkers and editors; `_PLACES` is what runs
    from tomoseg.checks.scan import inspect_scan as inspect_scan
    from tomoseg.config import GridConfig as GridConfig
    from tomoseg.config import PreprocessConfig as PreprocessConfig
    from tomoseg.config import TrainConfig as TrainConfig
    from tomoseg.errors import TomosegError as TomosegError
    from tomoseg.files.results import read_labelled as read_labelled
    from tomoseg.files.results import write_label_map as write_label_map
    from tomoseg.files.results import write_masks as write_masks
    from tomoseg.files.scan import read_scan as read_scan
    from tomoseg.inference.predictor import Predictor as Predictor
    from tomoseg.inference.segment import Prediction as Prediction
    from tomoseg.inference.segment import open_predictor as open_predictor
    from tomoseg.inference.segment import segment as segment
    from tomoseg.labels import LabelSet as LabelSet
    from tomoseg.labels import Structure as Structure
    from tomoseg.models.folder import Model as Model
    from tomoseg.models.folder import load_model as load_model
    from tomoseg.network_kinds import NetworkConfig as NetworkConfig
    from tomoseg.options import Compute as Compute
    from tomoseg.options import EvaluateOptions as EvaluateOptions
    from tomoseg.options import PredictOptions as PredictOptions
    from tomoseg.options import Request as Request
    from tomoseg.pictures.page_3d import write_page_3d as write_page_3d
    from tomoseg.pictures.preview import draw_preview as draw_preview
    from tomoseg.preprocessed.read import Preprocessed as Preprocessed
    from tomoseg.segmentation import LabelMap as LabelMap
    from tomoseg.segmentation import Segmentation as Segmentation
    from tomoseg.server.client import Client as Client
    from tomoseg.training.slice_dataset import LabelledSlice as LabelledSlice
    from tomoseg.training.slice_dataset import SliceDataset as SliceDataset
    from tomoseg.volume import Volume as Volume
    from tomoseg.workflows.evaluate import evaluate as evaluate
    from tomoseg.workflows.predict import predict as predict
    from tomoseg.workflows.preprocess import preprocess as preprocess
    from tomoseg.workflows.train import train_run as train_run

_PLACES = {
    # A scan
    "read_scan": "tomoseg.files.scan",
    "inspect_scan": "tomoseg.checks.scan",
    "Volume": "tomoseg.volume",
    # Models and predictions
    "load_model": "tomoseg.models.folder",
    "Model": "tomoseg.models.folder",
    "Compute": "tomoseg.options",
    "segment": "tomoseg.inference.segment",
    "Request": "tomoseg.options",
    "Prediction": "tomoseg.inference.segment",
    "open_predictor": "tomoseg.inference.segment",
    "Predictor": "tomoseg.inference.predictor",
    # Results
    "Segmentation": "tomoseg.segmentation",
    "LabelMap": "tomoseg.segmentation",
    "write_masks": "tomoseg.files.results",
    "write_label_map": "tomoseg.files.results",
    "read_labelled": "tomoseg.files.results",
    "draw_preview": "tomoseg.pictures.preview",
    "write_page_3d": "tomoseg.pictures.page_3d",
    # Structures
    "LabelSet": "tomoseg.labels",
    "Structure": "tomoseg.labels",
    # Datasets
    "Preprocessed": "tomoseg.preprocessed.read",
    "SliceDataset": "tomoseg.training.slice_dataset",
    "LabelledSlice": "tomoseg.training.slice_dataset",
    # Commands as functions
    "preprocess": "tomoseg.workflows.preprocess",
    "PreprocessConfig": "tomoseg.config",
    "GridConfig": "tomoseg.config",
    "train_run": "tomoseg.workflows.train",
    "TrainConfig": "tomoseg.config",
    "NetworkConfig": "tomoseg.network_kinds",
    "evaluate": "tomoseg.workflows.evaluate",
    "EvaluateOptions": "tomoseg.options",
    "predict": "tomoseg.workflows.predict",
    "PredictOptions": "tomoseg.options",
    # A server
    "Client": "tomoseg.server.client",
    # Errors
    "TomosegError": "tomoseg.errors",
}
"""The module that defines each public name."""

__all__ = ["__version__", *_PLACES]

if not TYPE_CHECKING:  # else type checkers would take any name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module 'tomoseg' has no attribute {name!r}", name=name, obj=_import_module(__name__))
        try:
            value = globals()[name] = getattr(_import_module(_PLACES[name]), name)
        except ModuleNotFoundError as error:
            from tomoseg.packages import EXTRAS, missing

            if error.name not in EXTRAS:
                raise
            raise ModuleNotFoundError(f"tomoseg.{name}: {missing(error.name)}", name=error.name) from error
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
