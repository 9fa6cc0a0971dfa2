"""A bare checkout on PYTHONPATH works as an installed one does: the same plugin under the same name."""

pytest_plugins = ["vitbench.plugin", "pytester"]
