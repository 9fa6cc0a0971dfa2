"""Accuracy and the accuracy lost to FGSM: trains."""


def test_accuracy(accuracy_case, bench):
    bench.accuracy(accuracy_case)
