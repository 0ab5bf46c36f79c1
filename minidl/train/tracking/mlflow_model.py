"""The model as MLflow serves it: this file is copied into each logged model and run from there.

MLflow runs it (a "model from code": nothing is pickled), finds the ``config.yaml`` and
``model.safetensors`` logged beside it, and the copy of minidl logged with them. Import it from
nowhere else: ``set_model`` is for MLflow's loader alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Classifier(PythonModel):  # type: ignore[misc, unused-ignore]  # untyped where absent
    """Class probabilities of images.

    Shapes: uint8 ``(N, H, W)`` or ``(N, C, H, W)``, raw pixels -> float32 ``(N, classes)``.
    """

    def load_context(self, context: Any) -> None:
        """Build the model from the files that were logged with it."""
        from minidl.train.inference import Predictor

        self._predictor = Predictor.load(Path(context.artifacts["config"]).parent)

    # The bare ndarray is the hint MLflow knows; any other, or none, makes it warn.
    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # type: ignore[type-arg, unused-ignore]
        params: dict[str, Any] | None = None,
    ) -> np.ndarray:  # type: ignore[type-arg, unused-ignore]
        """Return the probabilities of each image's classes."""
        images = np.asarray(model_input, dtype=np.uint8)
        if images.ndim == 3:
            images = images[:, np.newaxis]
        return np.asarray(self._predictor.probabilities(images), dtype=np.float32)


set_model(Classifier())
