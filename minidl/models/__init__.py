"""Small models that are known to work, ready to be named in a config or built on.

Sizes that follow from the input (channels, the number of pixels) may be left out in YAML; each
model with its settings and what it reaches stands in ``configs/``.
"""

from minidl.models.autoencoders import VAE, Autoencoder
from minidl.models.convnets import CNN, LeNet5, VGGSmall
from minidl.models.gan import DCGANSmall
from minidl.models.mlp import MLP
from minidl.models.recurrent import GRUClassifier, LSTMClassifier
from minidl.models.resnet import ResNet, ResNet8, ResNet20
from minidl.models.vit import ViTTiny

__all__ = [
    "CNN",
    "MLP",
    "VAE",
    "Autoencoder",
    "DCGANSmall",
    "GRUClassifier",
    "LSTMClassifier",
    "LeNet5",
    "ResNet",
    "ResNet20",
    "ResNet8",
    "VGGSmall",
    "ViTTiny",
]
