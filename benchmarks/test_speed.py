"""Throughput of inference and of a training step; pytest-benchmark is the stopwatch."""


def test_inference(inference_case, bench):
    bench.timing(inference_case, "inference")


def test_training(training_case, bench):
    bench.timing(training_case, "training")
