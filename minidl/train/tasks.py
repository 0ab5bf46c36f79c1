"""What a training is for: how a batch becomes a loss, a step, and figures.

A task is named in the config (``task: {type: Reconstruction}``); left out, it follows from the
data: classes are to be told apart, numbers to be predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from minidl.arguments import NonNegative, checked
from minidl.autograd import no_grad, recording
from minidl.autograd.checkpoint import generator
from minidl.autograd.primitive import Array
from minidl.nn import CrossEntropyLoss, MSELoss, NLLLoss
from minidl.nn.functional import binary_cross_entropy_with_logits, one_hot, sigmoid
from minidl.ops.elementwise import exp
from minidl.ops.reduce import mean, sum
from minidl.optim import scale_grad_
from minidl.tensor import Tensor
from minidl.train.metrics.metric import ClassMetric, Metric, NumberMetric
from minidl.train.metrics.regression import MeanAbsoluteError, R2Score

if TYPE_CHECKING:
    from minidl.train.build import Experiment
    from minidl.train.data_parts import Data


@dataclass(frozen=True)
class Outcome:
    """What a batch gave: its mean loss, the weight that has in a larger mean, and the answers.

    ``truth`` are the targets, class indices or numbers, and ``outputs`` what the model made of the
    inputs (the model's own array, not a copy); None where a task has no such thing. ``guess`` are
    the classes with the greatest logits, None where there are no classes. ``right`` says how many
    of them are the truth where that is all that is known (of a batch that several ranks share).
    """

    loss: float
    weight: float
    count: int
    truth: Array | None = None
    guess: Array | None = None
    outputs: Array | None = None
    right: int | None = None

    @property
    def correct(self) -> int | None:
        """How many classes were told right; None where there are no classes."""
        if self.truth is None or self.guess is None:
            return self.right
        return int(np.count_nonzero(self.truth == self.guess))


class Guard(Protocol):
    """What the trainer does within a step."""

    def loss(self, value: float) -> None:
        """Refuse a loss that is no number."""

    def gradients(self) -> None:
        """Clip the gradients, before the step."""


class Task:
    """Base of all tasks; a subclass defines `compute` and `told`, or the whole `single`.

    What is done with arrays stands apart from what is read off them: a step is recorded and
    replayed (`minidl.compile`), and reads its figures anew each time (`recording.run`).
    """

    #: Whether inputs are shifted and scaled by the data's mean and deviation.
    normalizes: ClassVar[bool] = True
    #: Whether there is an accuracy, and a confusion matrix.
    classifies: ClassVar[bool] = False
    #: Whether the gradients of several batches can make one step.
    accumulates: ClassVar[bool] = True
    #: The metrics that its outputs and targets have; None where there are none but the loss.
    metrics: ClassVar[type[Metric] | None] = None
    #: Those that are taken without being asked for, beside loss and accuracy.
    usual_metrics: ClassVar[tuple[type[Metric], ...]] = ()
    #: Whether the last model counts as the best: where no figure tells better from worse.
    keeps_last: ClassVar[bool] = False

    def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return a batch's loss, to be differentiated, and the model's output or None."""
        raise NotImplementedError

    def told(
        self, experiment: Experiment, loss: Any, output: Any, inputs: Any, targets: Any
    ) -> Outcome:
        """Return what is told of a batch; all are constants."""
        raise NotImplementedError

    def outcome(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Outcome]:
        """Return a batch's loss, and what is told of it."""
        loss, output = self.compute(experiment, inputs, targets)
        return loss, self.told(experiment, loss, output, inputs, targets)

    def single(
        self, experiment: Experiment, inputs: Any, targets: Any, guard: Guard
    ) -> list[Outcome]:
        """Take one optimizer step from the gradients of one batch."""
        experiment.optimizer.zero_grad()
        # One batch needs no weighing, and so has the bits that it always had.
        outcome = self.gather(experiment, inputs, targets, guard, weighed=False)
        recording.run(guard.gradients)
        experiment.optimizer.step()
        return [outcome]

    def gather(
        self, experiment: Experiment, inputs: Any, targets: Any, guard: Guard, *, weighed: bool
    ) -> Outcome:
        """Add the gradients of a batch to those that are there, ``weighed`` by its weight."""
        loss, output = self.compute(experiment, inputs, targets)
        outcome: Outcome = recording.run(
            _guarded, self, guard, experiment, loss, output, inputs, targets
        )
        (loss * recording.run(_weight, outcome) if weighed else loss).backward()
        return outcome

    def several(
        self,
        experiment: Experiment,
        batches: Sequence[tuple[Any, Any]],
        guard: Guard,
        gather: Callable[[Any, Any, bool], Outcome],
    ) -> list[Outcome]:
        """Take one optimizer step from the gradients of several batches, by `gather`.

        They count as if they were one: each mean over a batch has that batch's weight.
        """
        experiment.optimizer.zero_grad()
        weighed = getattr(experiment.loss, "reduction", "mean") != "sum"
        outcomes = [gather(inputs, targets, weighed) for inputs, targets in batches]
        total = math.fsum(outcome.weight for outcome in outcomes)
        if weighed and total:
            scale_grad_(experiment.model.parameters(), 1.0 / total)
        guard.gradients()
        experiment.optimizer.step()
        return outcomes

    def check(self, model: Any, data: Data) -> None:
        """Hold the model's output against the data.

        Raises
        ------
        ValueError
            It does not fit; the message is for the config's ``model``.
        """

    def pictures(self, experiment: Experiment) -> dict[str, list[Array]]:
        """Return pictures of what was learned: by name, rows of images ``(N, C, H, W)``, 0 to 1."""
        return {}


def _guarded(
    task: Task, guard: Guard, experiment: Experiment, loss: Any, output: Any, *batch: Any
) -> Outcome:
    outcome = task.told(experiment, loss, output, *batch)
    guard.loss(outcome.loss)
    return outcome


def _weight(outcome: Outcome) -> float:
    return outcome.weight


def _summed(experiment: Experiment) -> bool:
    """Whether the loss is a sum over a batch, and not a mean."""
    return getattr(experiment.loss, "reduction", "") == "sum"


def all_metrics(task: Task | type[Task], asked: Sequence[Metric]) -> list[Metric]:
    """Return the metrics asked for, and before them those that the task always has."""
    names = {metric.name for metric in asked}
    usual = [cls() for cls in task.usual_metrics]
    return [*(metric for metric in usual if metric.name not in names), *asked]


def _output(model: Any, data: Data) -> tuple[Any, Any]:
    probe = Tensor(np.zeros((2, *data.sample_shape), np.float32))
    with no_grad():
        output = model.eval()(probe)
    model.train()
    return probe, output


def _shown(output: Any) -> str:
    if isinstance(output, tuple):
        return f"{len(output)} parts"
    return f"(N, {', '.join(str(size) for size in output.shape[1:])})"


class Classification(Task):
    """Tell classes apart: the model gives a logit a class, targets are class indices."""

    classifies: ClassVar = True
    metrics: ClassVar = ClassMetric

    def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return the loss of logits and labels, and the logits."""
        logits = experiment.model(inputs)
        return experiment.loss(logits, self.wanted(experiment, targets)), logits

    def told(
        self, experiment: Experiment, loss: Any, output: Any, inputs: Any, targets: Any
    ) -> Outcome:
        """Return loss and weight, the classes, and those with the greatest logits."""
        outputs, truth = output.detach().numpy(), targets.numpy()
        if truth.ndim == 2:  # mixed samples count for the class that they are most of
            truth = truth.argmax(axis=1)
        value, weight = self.mean_loss(experiment, loss.item(), targets)
        return Outcome(value, weight, len(truth), truth, outputs.argmax(axis=1), outputs)

    def wanted(self, experiment: Experiment, labels: Tensor) -> Any:
        """Return class labels as the loss takes them: as one-hot floats for a squared error."""
        if isinstance(experiment.loss, MSELoss) and labels.ndim == 1:
            return one_hot(labels, len(experiment.data.classes)).to(experiment.dtype)
        return labels

    def mean_loss(self, experiment: Experiment, loss: float, labels: Tensor) -> tuple[float, float]:
        """Return a batch's loss as a mean over samples, and the weight it has in a larger mean.

        Without class weights that is the number of samples. With them a batch's mean is one over
        the sum of its samples' weights, and batches average exactly only by these sums.
        """
        module = experiment.loss
        if isinstance(module, (CrossEntropyLoss, NLLLoss)):
            truth = labels.numpy()
            if truth.ndim == 2:  # probabilities, as mixing makes them: one loss a sample
                return loss, float(len(truth))
            truth = truth[truth != module.ignore_index]
            classes = module.weight
            weight = float(len(truth) if classes is None else classes.numpy()[truth].sum())
        else:
            weight = float(len(labels))
        if not weight:
            return 0.0, 0.0
        return (loss / weight if getattr(module, "reduction", "") == "sum" else loss), weight

    def check(self, model: Any, data: Data) -> None:
        """Hold that there is one logit a class."""
        _, output = _output(model, data)
        if not data.classes:
            raise ValueError(f"{data.name} has no classes to tell apart; use task: Regression")
        if isinstance(output, tuple) or output.shape != (2, len(data.classes)):
            raise ValueError(
                f"the model's output has shape {_shown(output)}, but {data.name} has "
                f"{len(data.classes)} classes: wanted (N, {len(data.classes)})"
            )


class Regression(Task):
    """Predict numbers: the model's output has the targets' shape."""

    metrics: ClassVar = NumberMetric
    usual_metrics: ClassVar = (MeanAbsoluteError, R2Score)

    def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return the loss of predictions and targets, and the predictions."""
        output = experiment.model(inputs)
        if targets.ndim == 1 and output.ndim == 2:
            output = output.squeeze(1)
        return experiment.loss(output, targets.to(output.dtype)), output

    def told(
        self, experiment: Experiment, loss: Any, output: Any, inputs: Any, targets: Any
    ) -> Outcome:
        """Return the loss, the targets and the predictions."""
        count = len(targets)
        return Outcome(
            loss.item() / (count if _summed(experiment) else 1),
            float(count),
            count,
            truth=targets.numpy(),
            outputs=output.detach().numpy(),
        )

    def check(self, model: Any, data: Data) -> None:
        """Hold that there is one output a target."""
        _, output = _output(model, data)
        targets = data.train.dataset.targets
        wanted = 1 if targets.ndim == 1 else targets.shape[1]
        if isinstance(output, tuple) or output.shape not in ((2, wanted), (2,) * (wanted == 1)):
            raise ValueError(
                f"the model's output has shape {_shown(output)}, but {data.name} has {wanted} "
                f"number(s) to predict: wanted (N, {wanted})"
            )


class Reconstruction(Task):
    """Give back the input: the model's output is logits of pixels from 0 to 1 (`Autoencoder`).

    A model that returns ``(logits, mean, log_variance)`` (`VAE`) adds the divergence of its latent
    distribution from a standard normal one, per pixel, times ``kl_weight``.
    """

    normalizes: ClassVar = False

    @checked
    def __init__(self, kl_weight: NonNegative = 1.0) -> None:
        self.kl_weight = kl_weight

    def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return the loss of pixels, with the divergence."""
        output = experiment.model(inputs)
        logits, *latent = output if isinstance(output, tuple) else (output,)
        loss = experiment.loss(logits, inputs)
        if latent:
            # A mean is per pixel, a sum over all samples: the divergence is what the loss is.
            size = float(np.prod(inputs.shape[1:]))
            weight = self.kl_weight * len(inputs) if _summed(experiment) else self.kl_weight / size
            loss = loss + weight * divergence(*latent)
        return loss, None

    def told(
        self, experiment: Experiment, loss: Any, output: Any, inputs: Any, targets: Any
    ) -> Outcome:
        """Return the loss."""
        count = len(inputs)
        return Outcome(loss.item() / (count if _summed(experiment) else 1), float(count), count)

    def check(self, model: Any, data: Data) -> None:
        """Hold that the output has the input's shape."""
        probe, output = _output(model, data)
        first = output[0] if isinstance(output, tuple) else output
        if first.shape != probe.shape:
            raise ValueError(
                f"the model's output has shape {_shown(first)}; to give back the input it must be "
                f"{_shown(probe)}"
            )

    def pictures(self, experiment: Experiment) -> dict[str, list[Array]]:
        """Return test images above what the model makes of them, and new ones if it can."""
        inputs, _ = experiment.placed(*next(iter(experiment.data.test)))
        images = np.asarray(inputs.numpy()[:16])
        with no_grad():
            output = experiment.model.eval()(Tensor(images))
            made = sigmoid(output[0] if isinstance(output, tuple) else output).numpy()
        found = {"reconstructions": [images, np.asarray(made)]}
        return found | samples(experiment.model)


def divergence(mean_: Any, log_variance: Any) -> Any:
    """Return the divergence of N(mean, variance) from N(0, 1), averaged over samples.

    Kingma and Welling, "Auto-Encoding Variational Bayes", appendix B.
    """
    each = 1.0 + log_variance - mean_ * mean_ - exp(log_variance)
    return -0.5 * mean(sum(each, 1))


def samples(model: Any) -> dict[str, list[Array]]:
    """Return new images of a model that can make them, always the same."""
    if not hasattr(model, "sample"):
        return {}
    with no_grad():
        made = np.asarray(model.eval().sample(64, np.random.default_rng(0)).numpy())
    return {"samples": [made[i : i + 16] for i in range(0, 64, 16)]}


class Adversarial(Task):
    """Train a generator against a discriminator (`DCGANSmall`), a step of each a batch.

    One optimizer serves both: a step moves only what has a gradient. The loss told is the sum of
    both losses. The last model counts as the best.

    Parameters
    ----------
    real_label
        What the discriminator is to say of real images; below 1 it does not grow too sure.

    References
    ----------
    I. Goodfellow et al., "Generative Adversarial Nets", NIPS 2014; the generator's loss is the
    non-saturating one.
    """

    normalizes: ClassVar = False
    accumulates: ClassVar = False
    keeps_last: ClassVar = True

    @checked
    def __init__(self, real_label: NonNegative = 0.9) -> None:
        self.real_label = real_label

    def _model(self, experiment: Experiment) -> Any:
        return experiment.model

    def _losses(self, experiment: Experiment, inputs: Any) -> tuple[Any, Any, Any]:
        model = self._model(experiment)
        count = len(inputs)
        rng = generator(experiment.rng if model.training else np.random.default_rng(0))
        noise = rng.standard_normal((count, model.latent), np.float32)
        fake = model.generator(noise.astype(experiment.dtype))
        real_loss = _judged(model(inputs), self.real_label)
        return fake, real_loss, _judged(model(fake.detach()), 0.0)

    def single(
        self, experiment: Experiment, inputs: Any, targets: Any, guard: Guard
    ) -> list[Outcome]:
        """Take a step of the discriminator, then one of the generator."""
        optimizer, model = experiment.optimizer, self._model(experiment)
        optimizer.zero_grad()
        fake, real_loss, fake_loss = self._losses(experiment, inputs)
        first = real_loss + fake_loss
        one = recording.run(_finite, guard, first)
        first.backward()
        recording.run(guard.gradients)
        optimizer.step()
        optimizer.zero_grad()
        second = _judged(model(fake), 1.0)
        two = recording.run(_finite, guard, second)
        second.backward()
        for parameter in model.discriminator.parameters():
            parameter.grad = None
        recording.run(guard.gradients)
        optimizer.step()
        return [recording.run(_both, one, two, inputs)]

    def compute(self, experiment: Experiment, inputs: Any, targets: Any) -> tuple[Any, Any]:
        """Return the sum of both losses."""
        fake, real_loss, fake_loss = self._losses(experiment, inputs)
        return real_loss + fake_loss + _judged(experiment.model(fake), 1.0), None

    def told(
        self, experiment: Experiment, loss: Any, output: Any, inputs: Any, targets: Any
    ) -> Outcome:
        """Return the loss."""
        return Outcome(loss.item(), float(len(inputs)), len(inputs))

    def check(self, model: Any, data: Data) -> None:
        """Hold that there are a generator and a discriminator that fit."""
        if not (hasattr(model, "generator") and hasattr(model, "discriminator")):
            raise ValueError(
                f"{type(model).__name__} has no generator and discriminator; Adversarial wants a "
                "model such as DCGANSmall"
            )
        shape = model.sample(2, np.random.default_rng(0)).shape
        if tuple(shape[1:]) != tuple(data.sample_shape):
            raise ValueError(
                f"the generator makes images of shape {tuple(shape[1:])}, and the data's are "
                f"{data.sample_shape}"
            )

    def pictures(self, experiment: Experiment) -> dict[str, list[Array]]:
        """Return new images."""
        return samples(experiment.model)


def _finite(guard: Guard, loss: Any) -> float:
    value: float = loss.item()
    guard.loss(value)
    return value


def _both(one: float, two: float, inputs: Any) -> Outcome:
    return Outcome(one + two, float(len(inputs)), len(inputs))


def _judged(logits: Any, label: float) -> Any:
    return binary_cross_entropy_with_logits(logits, np.full(logits.shape, label, logits.dtype))
