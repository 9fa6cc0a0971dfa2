"""DomainNet Sketch: see `tests.domains`."""

from tests.domains import Domain


class TestSketch(Domain):
    name = "sketch"
    printed = (48_212, 20_916)  # liu2021, Table 1
