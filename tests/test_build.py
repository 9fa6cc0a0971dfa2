"""From names to networks: a seed gives the weights, an objective does not change them."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from vitbench import build
from vitbench.case import Budget
from vitbench.errors import DataAbsent, NonFinite, UserError
from vitbench.identity import Identity
from vitbench.objective import parse
from vitbench.train import derived

MODELS = ["resnet/tiny", "vit/tiny", "t2t/tiny", "cvt/tiny"]
EVERYTHING = "ce + 0.1*drloc(hidden=16) + 0.2*me(depth=1)"


def identity(objective="ce", **changes):
    plain = Identity(
        model="vit/tiny",
        objective=parse(objective),
        dataset="digits",
        data="",
        classes=7,
        image_size=32,
        budget=Budget.QUICK,
        versions={},
    )
    return replace(plain, **changes)


def equal(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("model", MODELS)
def test_every_objective_starts_from_the_same_network(model):
    torch.manual_seed(1)
    plain = build.model_of(identity(model=model))
    torch.manual_seed(2)
    assert equal(plain, build.model_of(identity(EVERYTHING, model=model)))


@pytest.mark.parametrize("model", MODELS)
def test_another_seed_gives_another_network(model):
    assert not equal(build.model_of(identity(model=model)), build.model_of(identity(model=model, seed=1)))


def test_building_leaves_torchs_global_generator_as_it_was():
    before = torch.get_rng_state()
    one = identity(EVERYTHING)
    build.total_of(one, build.model_of(one))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["drloc", "me"])
def test_a_term_starts_the_same_whatever_stands_beside_it(name):
    options = {"drloc": "drloc(hidden=16)", "me": "me(depth=1)"}[name]
    terms = []
    for objective in (f"ce + 0.5*{options}", EVERYTHING):
        one = identity(objective)
        total = build.total_of(one, build.model_of(one))
        terms.append(total.terms[total.names.index(name)])
    assert equal(*terms)
    other = identity(EVERYTHING, seed=1)
    assert not equal(terms[0], build.term_of(other, name, build.model_of(other)))


def test_the_objective_gives_each_term_its_weight_and_its_arguments():
    one = identity("ce + 0.1*drloc(hidden=16, pairs=3) + 0.2*me(depth=1, ratio=0.5)")
    total = build.total_of(one, build.model_of(one))
    assert total.names == ("ce", "drloc", "me")
    assert total.weights.tolist() == pytest.approx([1.0, 0.1, 0.2])
    drloc, me = total.terms[1:]
    assert (drloc.pairs, drloc.mlp[0].out_features) == (3, 16)
    assert (me.ratio, len(me.blocks)) == (0.5, 1)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_term_that_asks_for_the_model_copies_it_as_it_is(device):
    one = identity("distill(prototypes=8, hidden=8, bottleneck=4)")
    with torch.device(device):
        model = build.model_of(one)
        with torch.no_grad():
            model.network.head.weight.fill_(2.0)  # as weights that were loaded
        teacher = build.term_of(one, "distill", model).teacher
    assert {name: weight.shape for name, weight in teacher.named_parameters()} == {
        name: weight.shape for name, weight in model.named_parameters()
    }
    assert {weight.device.type for weight in teacher.parameters()} == {device}
    assert device == "meta" or equal(teacher, model)


def test_on_a_cpu_weights_stay_as_they_were_made():
    model = build.model_of(identity(model="resnet/tiny"))
    before = {name: one.stride() for name, one in model.named_parameters()}
    assert build.place(model, "cpu") is model
    assert {name: one.stride() for name, one in model.named_parameters()} == before


def test_on_a_gpu_channels_come_last_and_nothing_else_changes(monkeypatch):
    monkeypatch.setattr(build, "CHANNELS_LAST", {"cpu"})
    model, plain = (build.model_of(identity(model="resnet/tiny")) for _ in range(2))
    convolutions = [one for one in build.place(model, "cpu").parameters() if one.ndim == 4]
    assert convolutions
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in convolutions)
    assert equal(model, plain)


def test_what_is_no_weight_of_a_convolution_of_images_stays_as_it_is(monkeypatch):
    monkeypatch.setattr(build, "CHANNELS_LAST", {"cpu"})
    model = build.model_of(identity(model="resnet/tiny"))
    model.volume, model.bias = nn.Conv3d(2, 2, 2), nn.Parameter(torch.zeros(2, 3, 4, 5))
    build.place(model, "cpu")
    assert model.volume.weight.is_contiguous()
    assert model.bias.is_contiguous()


def test_a_network_that_does_not_say_that_it_can_keeps_channels_where_they_are(monkeypatch):
    """As somebody's own, whose `view` of a map would fail."""
    monkeypatch.setattr(build, "CHANNELS_LAST", {"cpu"})
    theirs = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert build.place(theirs, "cpu")[0].weight.is_contiguous()
    ours = build.model_of(identity(model="resnet/tiny"))
    ours.channels_last = False
    assert all(one.is_contiguous() for one in build.place(ours, "cpu").parameters())


@pytest.mark.parametrize("name", ["resnet", "vit", "t2t", "cvt"])
def test_a_network_of_ours_is_what_timm_makes_under_its_name(name):
    model = build.model_of(identity(model=f"{name}/tiny"))
    torch.manual_seed(derived(0, "model"))
    assert equal(model.network, timm.create_model(f"vitbench_{name}_tiny", num_classes=7))


def test_a_network_of_timms_is_what_timm_makes():
    model = build.model_of(identity(model="timm/resnet10t"))
    torch.manual_seed(derived(0, "model"))
    assert equal(model.network, timm.create_model("resnet10t", num_classes=7))


def test_a_network_has_the_classes_and_the_image_size_of_its_data():
    model = build.untrained("vit/tiny", 7, 48)
    out = model(torch.rand(2, 3, 48, 48))
    assert out.logits.shape == (2, 7)
    assert out.grids[-1].shape[2:] == (6, 6)  # patches of 8 pixels


def test_the_network_of_a_run_is_built_on_the_meta_device_too():
    with torch.device("meta"):
        one = identity(EVERYTHING)
        total = build.total_of(one, build.model_of(one))
    assert {weight.device.type for weight in total.parameters()} == {"meta"}


def test_a_variant_that_a_model_does_not_have_is_refused_with_the_nearest():
    with pytest.raises(UserError, match=r"'tinny'.*tiny"):
        build.model_of(identity(model="vit/tinny"))


NETS = """
from torch import nn
from vitbench.contracts import Output

class Net(nn.Module):
    def __init__(self, classes, give=None):
        super().__init__()
        self.conv, self.head, self.give = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, classes), give

    def forward(self, images):
        grid = self.conv(images)
        embedding = grid.mean(dim=(2, 3))
        right = {"logits": self.head(embedding), "embedding": embedding, "grids": (grid,)}
        return self.give(right) if self.give else Output(**right)

def right(*, classes, image_size): return Net(classes)
def none(*, classes, image_size): return None
def no_options(): return Net(10)
def fails(*, classes, image_size): raise ValueError("no\\nway")
def five(*, classes, image_size): return Net(5)
def bare(*, classes, image_size): return Net(classes, lambda right: right["logits"])
def nothing(*, classes, image_size): return Net(classes, lambda right: None)
def no_grids(*, classes, image_size): return Net(classes, lambda right: Output(**right | {"grids": ()}))
def one_grid(*, classes, image_size): return Net(classes, lambda right: Output(**right | {"grids": right["grids"][0]}))
def tokens(*, classes, image_size):
    return Net(classes, lambda right: Output(**right | {"grids": (right["grids"][0].flatten(2),)}))
def wide(*, classes, image_size): return Net(classes, lambda right: Output(**right | {"embedding": right["grids"][0]}))
def list_of_logits(*, classes, image_size): return Net(classes, lambda right: Output(**right | {"logits": [1, 2]}))
def one_image(*, classes, image_size):
    return Net(classes, lambda right: Output(**right | {"logits": right["logits"][:1]}))
def crashes(*, classes, image_size): return Net(classes, lambda right: right["nowhere"])
"""
TERMS = """
from torch import nn

def none(shape): return None
def no_arguments(): return nn.Identity()
def needs(shape, *, margin): return nn.Identity()
def a_function(shape): return lambda step: 0.0
def fails(shape, *, margin=1): return nn.Linear(margin, 10 // (margin - 1))
class Copies(nn.Module):
    def attach(self, model): self.copied = model.nothing
def copies(shape): return Copies()
"""
DATA = """
import torch
from vitbench.contracts import Images, Split

def split(n=4, m=None, size=32, dtype=torch.uint8, top=2, labels=torch.int64, names=("a", "b", "c"), channels=3):
    images = torch.zeros(n, channels, size, size, dtype=dtype)
    half = Images(images=images, labels=torch.full((n if m is None else m,), top, dtype=labels))
    return Split(train=half, test=half, classes=names)

def right(root, *, image_size, download): return split()
def none(root, *, image_size, download): return None
def no_arguments(): return split()
def floats(root, *, image_size, download): return split(dtype=torch.float32)
def grey(root, *, image_size, download): return split(channels=1)
def large(root, *, image_size, download): return split(size=64)
def int_labels(root, *, image_size, download): return split(labels=torch.int32)
def many(root, *, image_size, download): return split(top=3)
def negative(root, *, image_size, download): return split(top=-1)
def empty(root, *, image_size, download): return split(n=0)
def uneven(root, *, image_size, download): return split(m=5)
def nameless(root, *, image_size, download): return split(names=())
def unnamed(root, *, image_size, download): return split(names=None)
def arrays(root, *, image_size, download):
    half = Images(images=split().train.images.numpy(), labels=split().train.labels)
    return Split(train=half, test=half, classes=("a", "b", "c"))
def halves(root, *, image_size, download): return Split(train=None, test=None, classes=("a", "b", "c"))
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Somebody's nets, terms and data sets on Python's path."""
    folder = tmp_path_factory.mktemp("foreign")
    for name, text in (("theirnets", NETS), ("theirterms", TERMS), ("theirdata", DATA)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


def refused(call, *arguments):
    """The one line that a call is refused with."""
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "returns NoneType; a model is `build(*, classes, image_size)` and returns a torch.nn.Module (docs/"),
        (
            "no_options",
            "fails when built: TypeError: no_options() got an unexpected keyword argument 'classes'; a model is",
        ),
        ("fails", "fails when built: line 19, ValueError: no way; a model is"),
        ("right/big", "TypeError: right() got an unexpected keyword argument 'variant'"),
        ("five", "returns 5 logits for 7 classes: build it with the `classes` that it is given"),
        ("bare", "returns Tensor; expected vitbench.contracts.Output"),
        ("nothing", "returns NoneType; expected vitbench.contracts.Output"),
        ("no_grids", "returns no grids; expected a tuple of feature maps (B, D, h, w), the coarsest last"),
        ("one_grid", "returns no grids; expected a tuple of feature maps (B, D, h, w), the coarsest last"),
        ("tokens", "returns (2, 8, 16) as grids of 2 images; expected (B, D, h, w)"),
        ("wide", "returns (2, 8, 4, 4) as embedding of 2 images; expected (B, D)"),
        ("list_of_logits", "returns list as logits of 2 images; expected (B, K)"),
        ("one_image", "returns (1, 7) as logits of 2 images; expected (B, K)"),
        ("crashes", "fails on images (2, 3, 32, 32) on torch's meta device: line 31, KeyError: 'nowhere'; a model is"),
    ],
)
def test_a_model_that_breaks_its_contract_is_one_line(foreign, name, message):
    reference = f"theirnets.{name}"
    line = refused(build.model_of, identity(model=reference))
    assert line.startswith(f"{foreign / 'theirnets.py'}: the model '{reference.partition('/')[0]}' ")
    assert message in line


def test_a_model_that_keeps_its_contract_is_built(foreign):
    assert build.model_of(identity(model="theirnets.right")).head.out_features == 7


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (
            "none",
            "returns NoneType; a term is `build(shape, *, …)` and returns a torch.nn.Module (docs/adding-a-term.md)",
        ),
        (
            "no_arguments",
            "fails when built: TypeError: no_arguments() takes 0 positional arguments but 1 was given; a term",
        ),
        ("needs", "fails when built: TypeError: needs() missing 1 required keyword-only argument: 'margin'; a term is"),
        ("a_function", "returns function; a term is"),
        ("fails", "fails when built: line 8, ZeroDivisionError: "),
        ("copies", "fails when it was given the model: line 10, AttributeError: "),
    ],
)
def test_a_term_that_breaks_its_contract_is_one_line(foreign, term, message):
    one = identity(f"ce + 0.1*theirterms.{term}")
    line = refused(build.total_of, one, build.model_of(one))
    assert line.startswith(f"{foreign / 'theirterms.py'}: the term 'theirterms.{term}' ")
    assert message in line


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "none",
            "returns NoneType; a data set is `build(root, *, image_size, download)` and returns",
        ),
        ("no_arguments", "fails when built: TypeError: no_arguments() "),
        ("floats", "train.images is torch.float32 (4, 3, 32, 32); expected torch.uint8 (N, 3, 32, 32), N from 1 up"),
        ("grey", "train.images is torch.uint8 (4, 1, 32, 32); expected torch.uint8 (N, 3, 32, 32)"),
        ("large", "train.images is torch.uint8 (4, 3, 64, 64); expected torch.uint8 (N, 3, 32, 32)"),
        ("int_labels", "train.labels is torch.int32 (4,); expected torch.int64 (N), N from 1 up"),
        ("many", "train.labels go from 3 to 3; CLASSES says 3, so they must lie in 0 to 2"),
        ("negative", "train.labels go from -1 to -1; CLASSES says 3, so they must lie in 0 to 2"),
        ("empty", "train.images is torch.uint8 (0, 3, 32, 32); expected torch.uint8 (N, 3, 32, 32), N from 1 up"),
        ("uneven", "train has 4 images and 5 labels"),
        ("nameless", "names 0 classes; CLASSES says 3"),
        ("unnamed", "names 0 classes; CLASSES says 3"),
        ("arrays", "train.images is ndarray; expected torch.uint8 (N, 3, 32, 32)"),
        ("halves", "has a `train` that is NoneType; expected vitbench.contracts.Images"),
    ],
)
def test_a_data_set_that_breaks_its_contract_is_one_line(foreign, name, message):
    line = refused(build.data_of, identity(dataset=f"theirdata.{name}", classes=3), None)
    assert line.startswith(f"{foreign / 'theirdata.py'}: the data set 'theirdata.{name}'")
    assert message in line


def test_a_data_set_that_keeps_its_contract_is_read(foreign):
    assert len(build.data_of(identity(dataset="theirdata.right", classes=3), None).train) == 4


def test_a_folder_of_data_and_leave_to_fetch_it_are_handed_on(tmp_path):
    with pytest.raises(DataAbsent, match=f"{tmp_path}.*does not exist"):
        build.data_of(identity(dataset="cifar10", classes=10), tmp_path)


# Other people's code that fails in a run


def foreign_identity(tmp_path, monkeypatch, code):
    name = f"failing_{abs(hash(code))}"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    return identity(f"ce + 0.1*{name}.build"), tmp_path / f"{name}.py"


RAISING = """
from torch import nn

class Term(nn.Module):
    def forward(self, step):
        return step.nothing

def build(shape):
    return Term()
"""


def test_an_error_out_of_somebodys_code_names_the_file_and_line(tmp_path, monkeypatch):
    one, path = foreign_identity(tmp_path, monkeypatch, RAISING)
    term = build.term_of(one, one.objective.names[1], build.model_of(one))
    message = "fails when run: line 6, AttributeError"
    with pytest.raises(UserError, match=message) as caught, build.blaming(one, "when run"):
        term(None)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_torch_says_of_a_backward_pass_is_put_down_to_somebodys_code_where_there_is_some(tmp_path, monkeypatch):
    one, _ = foreign_identity(tmp_path, monkeypatch, RAISING)
    with pytest.raises(UserError, match="RuntimeError: modified in place"), build.blaming(one, "when run"):
        raise RuntimeError("modified in place")
    with pytest.raises(RuntimeError, match="modified"), build.blaming(identity(), "when run"):
        raise RuntimeError("modified in place")


@pytest.mark.parametrize("error", [NonFinite("nan"), OSError(28, "full"), RuntimeError("out of memory"), KeyError()])
def test_what_is_not_theirs_passes(tmp_path, monkeypatch, error):
    one, _ = foreign_identity(tmp_path, monkeypatch, RAISING)
    with pytest.raises(type(error)), build.blaming(one, "when run"):
        raise error


def test_what_breaks_in_the_code_of_an_installed_package_is_put_down_to_it(package, distribution):
    name = package("losses.py", RAISING)
    distribution("mypkg", f"[vitbench.terms]\nspread = {name}.losses\n")
    one = identity("ce + 0.1*spread")
    term = build.term_of(one, "spread", build.model_of(one))
    message = "the term 'spread' fails when run: line 6, AttributeError"
    with pytest.raises(UserError, match=message), build.blaming(one, "when run"):
        term(None)
