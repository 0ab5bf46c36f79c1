"""Table of losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from layertable import Loss


def classes() -> tuple[np.ndarray, np.ndarray]:
    """Logits of four samples and three classes, with their labels."""
    return np.random.default_rng(5).normal(size=(4, 3)) * 3, np.array([0, 2, 1, 2])


def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Logits of every pixel, some labels of which are to be ignored."""
    labels = np.array([[[0, 1], [2, -100]], [[1, 1], [-100, 0]]])
    return np.random.default_rng(6).normal(size=(2, 3, 2, 2)), labels


def distributions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.normal(size=(4, 3)), rng.dirichlet(np.ones(3), size=4)


def values() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    return rng.normal(size=(4, 3)), rng.normal(size=(4, 3))


def signs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    return rng.normal(size=(4, 3)), rng.choice([-1.0, 1.0], size=(4, 3))


def probabilities() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(10)
    return rng.uniform(0.1, 0.9, size=(4, 3)), rng.choice([0.0, 1.0], size=(4, 3))


def logits() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    return rng.normal(size=(4, 3)) * 2, rng.choice([0.0, 1.0], size=(4, 3))


def positive() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(12)
    return rng.uniform(0.5, 2.0, size=(4, 3)), rng.uniform(0.5, 2.0, size=(4, 3))


def log_probabilities() -> tuple[np.ndarray, np.ndarray]:
    x, labels = classes()
    return x - np.log(np.exp(x).sum(1, keepdims=True)), labels


def log_distributions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(13)
    return np.log(rng.dirichlet(np.ones(3), size=4)), rng.dirichlet(np.ones(3), size=4)


def many_labels() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(14).normal(size=(2, 4)), np.array([[1, 3, -1, 0], [2, -1, 0, 1]])


def three() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(15)
    return rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), rng.uniform(0.5, 2.0, size=(4, 3))


def rows_and_signs() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(16)
    return rng.normal(size=(4, 3)), rng.normal(size=(4, 3)), np.array([1.0, -1.0, -1.0, 1.0])


def pairs_and_signs() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(17)
    return rng.normal(size=4), rng.normal(size=4), np.array([1.0, -1.0, -1.0, 1.0])


def sequences() -> tuple[np.ndarray, ...]:
    x = np.random.default_rng(18).normal(size=(5, 2, 4))
    x = x - np.log(np.exp(x).sum(2, keepdims=True))
    return x, np.array([[1, 2], [3, 1]]), np.array([5, 4]), np.array([2, 1])


WEIGHT = [0.5, 2.0, 1.25]  # exact in float32


def weighted(nn: Any, **settings: Any) -> Any:
    """CrossEntropyLoss with class weights, which PyTorch wants as one of its tensors."""
    loss = nn.CrossEntropyLoss
    if loss.__module__.startswith("torch"):
        import torch

        return loss(weight=torch.tensor(WEIGHT), **settings)
    return loss(weight=WEIGHT, **settings)


def vector(nn: Any) -> Any:
    """Class weights, which PyTorch wants as one of its tensors."""
    if nn.__name__.startswith("torch"):
        import torch

        return torch.tensor(WEIGHT)
    return WEIGHT


# fmt: off
LOSSES = [
    Loss("CrossEntropyLoss", lambda nn: nn.CrossEntropyLoss(), classes),
    Loss("CrossEntropyLoss, sum", lambda nn: nn.CrossEntropyLoss(reduction="sum"), classes),
    Loss("CrossEntropyLoss, none", lambda nn: nn.CrossEntropyLoss(reduction="none"), classes, (4,)),
    Loss("CrossEntropyLoss, smooth", lambda nn: nn.CrossEntropyLoss(label_smoothing=0.2), classes),
    Loss("CrossEntropyLoss, weight", weighted, classes),
    Loss(
        "CrossEntropyLoss, weight and smooth",
        lambda nn: weighted(nn, label_smoothing=0.2),
        pixels,
    ),
    Loss("CrossEntropyLoss, weight, sum", lambda nn: weighted(nn, reduction="sum"), pixels),
    Loss("CrossEntropyLoss, pixels", lambda nn: nn.CrossEntropyLoss(), pixels),
    Loss(
        "CrossEntropyLoss, ignored class",
        lambda nn: nn.CrossEntropyLoss(ignore_index=2, reduction="none"),
        classes,
        (4,),
    ),
    Loss("CrossEntropyLoss, soft", lambda nn: nn.CrossEntropyLoss(), distributions),
    Loss(
        "CrossEntropyLoss, soft, all settings",
        lambda nn: weighted(nn, label_smoothing=0.3, reduction="none"),
        distributions,
        (4,),
    ),
    Loss("MSELoss", lambda nn: nn.MSELoss(), values),
    Loss("MSELoss, sum", lambda nn: nn.MSELoss(reduction="sum"), values),
    Loss("MSELoss, none", lambda nn: nn.MSELoss(reduction="none"), values, (4, 3)),
    Loss("LinearCrossEntropyLoss", lambda nn: nn.LinearCrossEntropyLoss(3, 4, bias=True, label_smoothing=0.1), classes),
    Loss("NLLLoss", lambda nn: nn.NLLLoss(), log_probabilities),
    Loss("NLLLoss, sum", lambda nn: nn.NLLLoss(ignore_index=2, reduction="sum"), log_probabilities),
    Loss("FocalLoss", lambda nn: nn.FocalLoss(), classes, torch=False),
    Loss("FocalLoss, weight", lambda nn: nn.FocalLoss(gamma=1.0, weight=WEIGHT, reduction="none"), classes, (4,), torch=False),
    Loss("BinaryFocalLoss", lambda nn: nn.BinaryFocalLoss(), logits, torch=False),
    Loss("BinaryFocalLoss, alpha", lambda nn: nn.BinaryFocalLoss(gamma=0.0, alpha=0.25, reduction="sum"), logits, torch=False),
    Loss("BCELoss", lambda nn: nn.BCELoss(), probabilities),
    Loss("BCELoss, none", lambda nn: nn.BCELoss(reduction="none"), probabilities, (4, 3)),
    Loss("BCEWithLogitsLoss", lambda nn: nn.BCEWithLogitsLoss(), logits),
    Loss("BCEWithLogitsLoss, weights", lambda nn: nn.BCEWithLogitsLoss(vector(nn), pos_weight=vector(nn)), logits),
    Loss("L1Loss", lambda nn: nn.L1Loss(), values),
    Loss("L1Loss, sum", lambda nn: nn.L1Loss(reduction="sum"), values),
    Loss("LogCoshLoss", lambda nn: nn.LogCoshLoss(), values, torch=False),
    Loss("MSLELoss", lambda nn: nn.MSLELoss(), positive, torch=False),
    Loss("SoftMarginLoss", lambda nn: nn.SoftMarginLoss(), signs),
    Loss("HingeLoss", lambda nn: nn.HingeLoss(), signs, torch=False),
    Loss("SquaredHingeLoss", lambda nn: nn.SquaredHingeLoss(), signs, torch=False),
    Loss("MultiLabelMarginLoss", lambda nn: nn.MultiLabelMarginLoss(), many_labels),
    Loss("SmoothL1Loss", lambda nn: nn.SmoothL1Loss(), values),
    Loss("SmoothL1Loss, beta", lambda nn: nn.SmoothL1Loss(beta=0.4, reduction="none"), values, (4, 3)),
    Loss("HuberLoss", lambda nn: nn.HuberLoss(), values),
    Loss("HuberLoss, delta", lambda nn: nn.HuberLoss(delta=0.4), values),
    Loss("KLDivLoss", lambda nn: nn.KLDivLoss(reduction="batchmean"), log_distributions),
    Loss("KLDivLoss, log", lambda nn: nn.KLDivLoss(reduction="sum", log_target=True), values),
    Loss("PoissonNLLLoss", lambda nn: nn.PoissonNLLLoss(), positive),
    Loss("PoissonNLLLoss, full", lambda nn: nn.PoissonNLLLoss(log_input=False, full=True), positive),
    Loss("GaussianNLLLoss", lambda nn: nn.GaussianNLLLoss(), three),
    Loss("GaussianNLLLoss, full", lambda nn: nn.GaussianNLLLoss(full=True, reduction="none"), three, (4, 3)),
    Loss("CTCLoss", lambda nn: nn.CTCLoss(), sequences),
    Loss("CTCLoss, sum", lambda nn: nn.CTCLoss(reduction="sum", zero_infinity=True), sequences),
    Loss("DiceLoss", lambda nn: nn.DiceLoss(), probabilities, torch=False),
    Loss("TverskyLoss", lambda nn: nn.TverskyLoss(reduction="none"), probabilities, (4,), torch=False),
    Loss("MarginRankingLoss", lambda nn: nn.MarginRankingLoss(0.3), pairs_and_signs),
    Loss("CosineEmbeddingLoss", lambda nn: nn.CosineEmbeddingLoss(0.2), rows_and_signs),
    Loss("HingeEmbeddingLoss", lambda nn: nn.HingeEmbeddingLoss(0.7), signs),
    Loss("SiameseContrastiveLoss", lambda nn: nn.SiameseContrastiveLoss(), probabilities, torch=False),
    Loss("MultiMarginLoss", lambda nn: nn.MultiMarginLoss(), classes),
    Loss("MultiMarginLoss, all settings", lambda nn: nn.MultiMarginLoss(2, 0.5, vector(nn)), classes),
    Loss("MultiLabelSoftMarginLoss", lambda nn: nn.MultiLabelSoftMarginLoss(), logits),
    Loss("TripletMarginLoss", lambda nn: nn.TripletMarginLoss(), three),
    Loss("TripletMarginLoss, swap", lambda nn: nn.TripletMarginLoss(0.5, 2.0, swap=True), three),
    Loss("TripletMarginWithDistanceLoss", lambda nn: nn.TripletMarginWithDistanceLoss(margin=2.0), three),
]
