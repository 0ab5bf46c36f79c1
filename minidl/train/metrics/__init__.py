"""How good a model is: metrics over a whole set of samples."""

from minidl.train.metrics.whole_set import Average, Evaluation, evaluate

__all__ = ["Average", "Evaluation", "evaluate"]
