"""DomainNet Infograph: see `tests.domains`."""

from tests.domains import Domain


class TestInfograph(Domain):
    name = "infograph"
    printed = (36_023, 15_582)  # liu2021, Table 1
