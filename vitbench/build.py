"""Where names become code: the model and the terms of a run, imported through `vitbench.leaves`."""

import torch
from torch import nn

from vitbench import leaves
from vitbench.adapter import shape_of
from vitbench.errors import UserError
from vitbench.identity import Identity
from vitbench.total import Total
from vitbench.train import derived


def model_of(identity: Identity) -> nn.Module:
    """The untrained model of a run, on the CPU; its weights depend on the seed and on nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(identity.seed, "model"))
        return untrained(identity.model, identity.classes, identity.image_size)


def untrained(reference: str, classes: int, image_size: int) -> nn.Module:
    """A network by its reference (`leaf/variant`), with whatever weights torch's generator gives."""
    name, _, variant = reference.partition("/")
    options = {"variant": variant} if variant else {}
    model: nn.Module = leaves.find("models", name).load()(classes=classes, image_size=image_size, **options)
    return model


def term_of(identity: Identity, name: str, model: nn.Module) -> nn.Module:
    """A term of a run for a model; its weights depend on the seed and the term's name."""
    arguments = next(one.term.arguments for one in identity.objective if one.name == name)
    shape = shape_of(model, image_size=identity.image_size)
    if shape.classes != identity.classes:
        raise UserError(
            f"{identity.model} returns {shape.classes} logits, {identity.dataset} has {identity.classes} classes: "
            "build it with the `classes` that it is given"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived(identity.seed, "term", name))
        term: nn.Module = leaves.find("terms", name).load()(shape, **arguments)
    return term


def total_of(identity: Identity, model: nn.Module) -> Total:
    """The objective of a run for a model."""
    terms = {name: term_of(identity, name, model) for name in identity.objective.names}
    return Total(terms, {one.name: one.weight for one in identity.objective})
