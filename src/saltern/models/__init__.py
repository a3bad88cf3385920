"""Networks by name, and encoder weights from local files."""

from saltern.models.factory import MODELS, SegmentationNet, build_model
from saltern.models.outputs import Outputs
from saltern.models.weights import WeightsReport, load_encoder_weights

__all__ = ["MODELS", "Outputs", "SegmentationNet", "WeightsReport", "build_model", "load_encoder_weights"]
