"""Keras on TensorFlow, imported here alone, because both read their settings when imported."""

import os

# No information lines of TensorFlow's C++ part, and no GPU, on which training would not repeat bit
# for bit.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
import keras
import tensorflow as tf
from keras import layers

tf.get_logger().setLevel("ERROR")  # it warns that networks of several shapes are run

__all__ = ["keras", "layers", "tf"]
