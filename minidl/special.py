"""Special functions, under the names of ``torch.special``."""

__all__: list[str] = []
