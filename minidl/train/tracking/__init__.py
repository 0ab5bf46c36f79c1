"""Tracking of runs in MLflow.

``tracker`` is the training's side and starts a process of its own for the rest (``child``). There
``sender`` decides what is sent when and ``mlflow_client`` sends it. ``description`` is what is kept
of it in the run directory, and ``sync`` sends later what was missed.
"""

from minidl.train.tracking.description import DatasetInfo, RunDescription, RunRecord
from minidl.train.tracking.settings import TrackingReport, TrackingSettings, require_mlflow
from minidl.train.tracking.tracker import Tracker

__all__ = [
    "DatasetInfo",
    "RunDescription",
    "RunRecord",
    "Tracker",
    "TrackingReport",
    "TrackingSettings",
    "require_mlflow",
]
