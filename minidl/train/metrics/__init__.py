"""How good a model is: metrics over a whole set of samples."""

from minidl.train.metrics.counting import (
    F1,
    Accuracy,
    ConfusionMatrix,
    Precision,
    Recall,
    TopKAccuracy,
    class_table,
)
from minidl.train.metrics.direction import better, higher_is_better
from minidl.train.metrics.metric import ClassMetric, Metric, NumberMetric, monitored
from minidl.train.metrics.mistakes import Mistake, WorstMistakes
from minidl.train.metrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score
from minidl.train.metrics.scores import AUROC, BrierScore, CalibrationError, LogLoss, Reliability
from minidl.train.metrics.whole_set import Average, Evaluation, evaluate

__all__ = [
    "AUROC",
    "F1",
    "Accuracy",
    "Average",
    "BrierScore",
    "CalibrationError",
    "ClassMetric",
    "ConfusionMatrix",
    "Evaluation",
    "LogLoss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Mistake",
    "NumberMetric",
    "Precision",
    "R2Score",
    "Recall",
    "Reliability",
    "TopKAccuracy",
    "WorstMistakes",
    "better",
    "class_table",
    "evaluate",
    "higher_is_better",
    "monitored",
]
