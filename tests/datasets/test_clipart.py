"""DomainNet Clipart: see `tests.domains`."""

from tests.domains import Domain


class TestClipart(Domain):
    name = "clipart"
    printed = (33_525, 14_604)  # liu2021, Table 1
