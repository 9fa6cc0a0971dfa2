"""DomainNet Quickdraw: see `tests.domains`."""

from tests.domains import Domain


class TestQuickdraw(Domain):
    name = "quickdraw"
    printed = (120_750, 51_750)  # liu2021, Table 1
