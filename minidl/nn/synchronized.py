"""Batch normalization whose statistics are those of all ranks of a data-parallel training."""

from __future__ import annotations

from typing import Any, ClassVar

from minidl.nn import normalization
from minidl.nn.lazy import Lazy
from minidl.nn.module import Module


class SyncBatchNorm(normalization._BatchNorm):
    """Batch normalization over the samples of all ranks: ``(N, C)`` or ``(N, C, *)``.

    In training each rank takes the mean and variance of the whole batch, of which it has a share,
    and gradients flow through them over all ranks; N ranks compute what one would with all of the
    batch. In evaluation, and in a process of its own, it is batch normalization as ever.

    Every rank has to call it, in the same order, forward and backward: one without samples gives it
    none, ``(0, C, *)``.

    Examples
    --------
    >>> from minidl import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    >>> model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    >>> type(model[1]).__name__
    'SyncBatchNorm'
    """

    ranks: ClassVar = (2, 3, 4, 5)

    def forward(self, x: Any) -> Any:
        """Normalize by the statistics of all ranks in training, by the running ones otherwise."""
        from minidl.distributed.world import current

        if current().size == 1 or not self.training:
            return super().forward(x)
        from minidl.distributed.statistics import sync_batch_norm

        self._expect(x)
        return sync_batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            momentum=self._count_batch(),
            eps=self.eps,
        )

    @classmethod
    def convert_sync_batchnorm(cls, module: Module) -> Module:
        """Make every BatchNorm1d, 2d and 3d in a model a SyncBatchNorm, in place; return the model.

        Parameters, buffers and their names stay what they are, and so do optimizers and states.

        Raises
        ------
        ValueError
            A layer does not know its sizes yet (`Lazy`): give the model a batch before.
        """
        usual = (
            normalization.BatchNorm1d,
            normalization.BatchNorm2d,
            normalization.BatchNorm3d,
        )
        for name, found in module.named_modules():
            if isinstance(found, Lazy) and issubclass(found.becomes_class, usual):
                raise ValueError(
                    f"convert_sync_batchnorm: {name or 'the layer'} is a {type(found).__name__}, "
                    "whose sizes are not known yet; give the model one batch before"
                )
        for found in module.modules():
            if type(found) in usual:
                found.__class__ = cls  # whoever holds the layer holds the new one
        return module
