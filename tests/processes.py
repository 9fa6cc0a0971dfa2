"""Processes of their own: killed ones, from a server that has imported torch once, and others with shorter recipes."""

import multiprocessing

# What gives every case a quick budget of so many epochs, without floors, where this is executed first.
FEW_EPOCHS = """
from dataclasses import replace
from vitbench import papers

def shortened(load=papers.load_all):
    for paper in load():
        tables = tuple(replace(table, cases=tuple(map(case, table.cases))) for table in paper.tables)
        yield replace(paper, tables=tables, floors={{}})

def case(one):
    quick = tuple(replace(phase, epochs={epochs}) for phase in one.recipe.quick)
    return replace(one, recipe=replace(one.recipe, quick=quick))

papers.load_all = lambda: list(shortened())
"""


def start(source, **names):
    """Runs a script with these names in a process of its own; its `exitcode` is -9 if it was killed.

    The environment is that of the test which started the first one.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vitbench.run", "torch._dynamo", "sklearn.datasets"])
    process = context.Process(target=exec, args=(source, names), daemon=True)  # a failed test must not wait for it
    process.start()
    return process


def few_epochs(epochs):
    """Source of a conftest.py or sitecustomize.py that shortens every recipe."""
    return FEW_EPOCHS.format(epochs=epochs)


def ended(process, *, seconds=300):
    """The exit code of a process, which is ended if it takes longer."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"the process did not end within {seconds} s")
    return process.exitcode
