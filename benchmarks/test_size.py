"""Parameters and MACs of the papers' networks: counted, never trained."""


def test_size(size_case, bench):
    bench.size(size_case)
