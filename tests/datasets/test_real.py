"""DomainNet Real: see `tests.domains`."""

from tests.domains import Domain


class TestReal(Domain):
    name = "real"
    printed = (120_906, 52_041)  # liu2021, Table 1
