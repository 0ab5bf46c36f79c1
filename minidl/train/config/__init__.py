"""A run's configuration: a YAML file in, a checked ``Config`` out.

In the order in which a file passes through: ``yaml_source`` and ``yaml_scalars`` read it,
``overrides`` change it, ``schema`` and ``sections`` say what is right, ``diagnose`` and
``problems`` what is wrong, and ``load`` puts these together. ``editor_schema`` tells editors.
"""

from minidl.train.config.editor_schema import json_schema
from minidl.train.config.load import config_from_data, config_from_text, load_config
from minidl.train.config.problems import ConfigError, Problem
from minidl.train.config.schema import DataSpec, Spec
from minidl.train.config.sections import Config, TrackingSection, TrainerSection

__all__ = [
    "Config",
    "ConfigError",
    "DataSpec",
    "Problem",
    "Spec",
    "TrackingSection",
    "TrainerSection",
    "config_from_data",
    "config_from_text",
    "json_schema",
    "load_config",
]
