"""What is shown of a network is what it really does."""

import numpy as np

from stages.models.features import evidence, feature_maps
from stages.models.mobilenet import HEAD, POOL, build_mobilenet
from stages.models.network import keras, make_repeatable, predict_in_batches, tf

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def network_of(n_classes: int) -> keras.Model:
    make_repeatable(0)
    network = build_mobilenet(
        image_size=32, n_classes=n_classes, input_size=64, variant="torch", dropout=0.2
    )
    generator = np.random.default_rng(0)
    for layer in network.layers:
        if layer.weights and hasattr(layer, "kernel"):  # so large that the signal gets through
            kernel, bias = layer.get_weights()
            inputs = kernel.size / kernel.shape[-1] if kernel.shape[-1] > 1 else 9
            layer.set_weights([generator.normal(0, np.sqrt(2 / inputs), kernel.shape), bias + 0.1])
    return network


def test_the_evidence_adds_up_to_the_logit() -> None:
    network = network_of(2)
    maps = evidence(network, feature_maps(network, IMAGES), np.zeros(4, int))
    assert maps.shape == (4, 2, 2)
    logits = predict_in_batches(network, IMAGES)[:, 0]
    assert np.ptp(logits) > 0.01, "the network answers differently to different images"
    np.testing.assert_allclose(maps.sum(axis=(1, 2)) + 0.1, logits, atol=1e-4)


def test_the_evidence_is_grad_cam_up_to_a_factor() -> None:
    # Selvaraju et al., 2017, equations 1 and 2, without the final ReLU.
    network = network_of(2)
    maps = tf.constant(feature_maps(network, IMAGES))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = network.get_layer(HEAD)(network.get_layer(POOL)(maps))
    weights = tape.gradient(logits, maps).numpy().mean(axis=(1, 2), keepdims=True)
    grad_cam = (weights * maps.numpy()).sum(axis=-1)
    found = evidence(network, maps.numpy(), np.zeros(4, int))
    np.testing.assert_allclose(found, grad_cam, rtol=1e-3, atol=1e-5)


def test_with_three_classes_the_evidence_is_for_one_against_the_mean() -> None:
    network = network_of(3)
    maps = feature_maps(network, IMAGES)
    logits = predict_in_batches(network, IMAGES)
    for label in range(3):
        found = evidence(network, maps, np.full(4, label)).sum(axis=(1, 2))
        expected = logits[:, label] - logits.mean(axis=1)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_features_are_what_the_head_reads() -> None:
    network = network_of(2)
    kernel, bias = network.get_layer(HEAD).get_weights()
    features = feature_maps(network, IMAGES).mean(axis=(1, 2))
    np.testing.assert_allclose(
        features @ kernel + bias, predict_in_batches(network, IMAGES), atol=1e-4
    )
