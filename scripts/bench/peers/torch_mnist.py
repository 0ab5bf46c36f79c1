"""What `minidl train configs/mnist_cnn.yaml` does, as a plain PyTorch script.

The same data (5 % held back), the same augmentation (on whole batches), model, loss with label
smoothing, AdamW, warm-up and cosine, clipping; validation after each epoch, the best weights kept
in a file, a test at the end. As fast as it goes without another library: everything in memory, the
fused optimizer, channels-last.

    MINIDL_DATA=data python scripts/bench/peers/torch_mnist.py --epochs 2 --threads 2
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH, LR, MIN_LR, WARMUP = 128, 2e-3, 1e-5, 200


def idx(directory: Path, name: str) -> torch.Tensor:
    """Read one of MNIST's files, packed or not."""
    plain = directory / name
    if plain.exists():
        data = plain.read_bytes()
    else:
        data = gzip.decompress((directory / f"{name}.gz").read_bytes())
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return torch.from_numpy(
        np.frombuffer(data, np.uint8, -1, 4 + 4 * data[3]).reshape(shape).copy()
    )


def model() -> nn.Sequential:
    """Return the network of configs/mnist_cnn.yaml."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    ).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # fmt: skip


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Turn by 10°, shift by 8 %, scale by 10 %, shear by 8°, each image at random."""
    n = len(images)

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.empty(n).uniform_(low, high)

    angle, factor = torch.deg2rad(draw(-10, 10)), draw(0.9, 1.1)
    slant = torch.tan(torch.deg2rad(draw(-8, 8)))
    cos, sin = torch.cos(angle) / factor, torch.sin(angle) / factor
    # grid_sample wants the way back, in (x, y) from -1 to 1.
    theta = torch.stack(
        [
            torch.stack([cos - slant * sin, -sin - slant * cos, draw(-0.16, 0.16)], -1),
            torch.stack([sin, cos, draw(-0.16, 0.16)], -1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


@torch.inference_mode()
def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of right answers."""
    net.eval()
    right = sum(
        int((net(x).argmax(1) == y).sum())
        for x, y in zip(images.split(256), labels.split(256), strict=True)
    )
    return right / len(images)


def rate(step: int, total: int) -> float:
    """Return the learning rate of a step: up in a line, down along a cosine."""
    if step < WARMUP:
        return LR * (step + 1) / WARMUP
    share = (step - WARMUP) / max(1, total - WARMUP)
    return MIN_LR + 0.5 * (LR - MIN_LR) * (1 + math.cos(math.pi * share))


def train(net: nn.Module, images: Any, labels: Any, epochs: int) -> None:
    """Train, keep the best weights, and print what was reached."""
    order = torch.randperm(len(images))
    held = len(images) // 20
    val, rest = order[:held], order[held:]
    optimizer = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=0.02, fused=True)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    total, step, best = epochs * math.ceil(len(rest) / BATCH), 0, -1.0
    for epoch in range(epochs):
        net.train()
        losses = 0.0
        for chosen in rest[torch.randperm(len(rest))].split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, total)
            optimizer.zero_grad()
            loss = loss_of(net(augmented(images[chosen])), labels[chosen])
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            losses += loss.item()
            step += 1
        reached = accuracy(net, images[val], labels[val])
        if reached > best:
            best = reached
            torch.save(net.state_dict(), "best.pt")
        print(
            f"epoch {epoch + 1} loss {losses * BATCH / len(rest):.4f} val {reached:.4f}", flush=True
        )
    net.load_state_dict(torch.load("best.pt", weights_only=True))


def main() -> None:
    """Train and test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    torch.manual_seed(42)
    directory = Path(os.environ["MINIDL_DATA"])
    parts = []
    for part in ("train", "t10k"):
        images = idx(directory, f"{part}-images-idx3-ubyte")[:, None].float() / 255
        parts += [(images - 0.1307) / 0.3081, idx(directory, f"{part}-labels-idx1-ubyte").long()]
    net = model()
    train(net, parts[0], parts[1], settings.epochs)
    print(f"test {accuracy(net, parts[2], parts[3]):.4f}")


if __name__ == "__main__":
    main()
