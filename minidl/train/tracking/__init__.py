"""Tracking of runs in MLflow: ``tracker`` decides what is sent when, ``mlflow_client`` sends it."""

from minidl.train.tracking.tracker import (
    DatasetInfo,
    Tracker,
    TrackingReport,
    TrackingSettings,
    require_mlflow,
)

__all__ = ["DatasetInfo", "Tracker", "TrackingReport", "TrackingSettings", "require_mlflow"]
