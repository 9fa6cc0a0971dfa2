"""DomainNet Painting: see `tests.domains`."""

from tests.domains import Domain


class TestPainting(Domain):
    name = "painting"
    printed = (50_416, 21_850)  # liu2021, Table 1
