"""The models as people read of them, in tables and pictures."""

TITLES = {
    "baseline": "least squares, gray pixels",
    "cnn": "CNN",
    "mobilenet": "MobileNetV2, fine-tuned",
}
