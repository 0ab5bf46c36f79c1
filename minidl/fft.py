"""Discrete Fourier transforms, under the names of ``torch.fft``."""

__all__: list[str] = []
