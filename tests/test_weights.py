"""A fine-tuning starts from a file that the test saves itself, made by timm and not by us."""

import pickle
import re
from dataclasses import replace

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from vitbench import build, published, weights
from vitbench.adapter import Adapter
from vitbench.case import Budget
from vitbench.contracts import Normalize
from vitbench.errors import DataBroken, UserError
from vitbench.identity import Identity
from vitbench.models import t2t, vit
from vitbench.objective import parse

SMALL = {"t2t/tiny": "vitbench_t2t_tiny", "timm/test_vit": "test_vit", "timm/test_resnet": "test_resnet"}
HEADS = {"t2t/tiny": "head.", "timm/test_vit": "head.", "timm/test_resnet": "fc."}


def identity(model="timm/test_vit", objective="ce", **changes):
    plain = Identity(
        model=model,
        objective=parse(objective),
        dataset="digits",
        data="",
        classes=7,
        image_size=32,
        budget=Budget.PAPER,
        versions={},
    )
    return replace(plain, **changes)


def donor(name, **options):
    """A network of timm's with 1000 classes, in which no tensor has the value that it is made with."""
    torch.manual_seed(77)
    if timm.get_pretrained_cfg(name).fixed_input_size:
        options = {"img_size": 32, **options}
    network = timm.create_model(name, num_classes=1000, **options).eval()
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if value.is_floating_point() and key != "pos_embed":
                value.add_(0.05 * torch.rand_like(value))
    return network


def save(state, path):
    state = {key: value.clone().contiguous() for key, value in state.items()}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


def start(one, path):
    model = build.model_of(one)
    weights.load(model, one.model, path, digest=published.digest(path), image_size=one.image_size)
    return model.eval()


def refused(path, error=DataBroken, one=None):
    one = one or identity()
    model = build.model_of(one)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error) as caught:
        weights.load(model, one.model, path, digest=published.digest(path), image_size=one.image_size)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(path))
    return str(caught.value)


def embedding(network, images):
    return network.forward_head(network.forward_features(2 * images - 1), pre_logits=True)


@pytest.fixture
def images():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save(donor("test_vit").state_dict(), tmp_path_factory.mktemp("vit") / "test_vit.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("reference", SMALL)
def test_the_embedding_is_the_donors_and_the_head_is_the_seeds(reference, suffix, tmp_path, images):
    published_network = donor(SMALL[reference])
    path = save(published_network.state_dict(), tmp_path / f"net{suffix}")
    one = identity(reference)
    drawn, model = build.model_of(one), start(one, path)
    assert torch.equal(model(images).embedding, embedding(published_network, images))
    theirs, fresh = published_network.state_dict(), drawn.network.state_dict()
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, (fresh if key.startswith(HEADS[reference]) else theirs)[key]), key
    assert model(images).logits.shape == (2, 7)


@pytest.mark.parametrize("reference", SMALL)
def test_another_seed_gives_another_head_on_the_same_body(reference, tmp_path):
    path = save(donor(SMALL[reference]).state_dict(), tmp_path / "net.pt")
    ours, theirs = (start(identity(reference, seed=seed), path).network.state_dict() for seed in (0, 1))
    differing = {key for key in ours if not torch.equal(ours[key], theirs[key])}
    assert differing == {f"{HEADS[reference]}weight"} | ({f"{HEADS[reference]}bias"} & differing)
    assert not torch.equal(ours[f"{HEADS[reference]}weight"], theirs[f"{HEADS[reference]}weight"])


def test_a_method_starts_as_its_plain_baseline_does(file):
    plain, method = (start(identity(objective=text), file).state_dict() for text in ("ce", "ce + 0.5*drloc(hidden=16)"))
    assert all(torch.equal(plain[key], method[key]) for key in plain)


def test_as_many_classes_as_were_published_do_not_keep_the_published_head(file):
    one = identity(classes=1000)
    head = build.model_of(one).network.head.weight
    assert torch.equal(start(one, file).network.head.weight, head)
    assert not torch.equal(donor("test_vit").head.weight, head)


def test_loading_leaves_torchs_generator_as_it_was(file):
    model = build.model_of(identity())
    before = torch.get_rng_state()
    weights.load(model, "timm/test_vit", file, digest=published.digest(file), image_size=32)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_checkpoint_of_a_training_is_unwrapped_as_timm_does(tmp_path, file, images):
    state = {f"module.{key}": value for key, value in donor("test_vit").state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3, "arch": "test_vit"}, tmp_path / "net.bin")
    assert torch.equal(
        start(identity(), tmp_path / "net.bin")(images).embedding, start(identity(), file)(images).embedding
    )


def test_positions_of_another_image_size_are_resampled_by_timm(tmp_path):
    big = donor("test_vit", img_size=64)
    path = save(big.state_dict(), tmp_path / "net.pth")
    small = timm.create_model("test_vit", pretrained=True, pretrained_cfg_overlay={"file": str(path)}, img_size=32)
    model = start(identity(), path)
    assert big.pos_embed.shape != model.network.pos_embed.shape
    assert torch.equal(model.network.pos_embed, small.pos_embed)


def swin_of_the_authors(state):
    """Tensors of timm's Swin-T under the names of its authors' file, whose stages end in the downsampling."""
    earlier = re.compile(r"layers\.(\d)\.downsample")
    names = {key: earlier.sub(lambda one: f"layers.{int(one[1]) - 1}.downsample", key) for key in state}
    renamed = {name.replace("head.fc.", "head."): state[key] for key, name in names.items()}
    return {"model": renamed | {"layers.0.blocks.0.attn.relative_position_index": torch.zeros(49, 49)}}


def test_swin_t_of_its_authors_goes_through_timms_conversion(tmp_path):
    published_network = donor("swin_tiny_patch4_window7_224", img_size=64)
    path = tmp_path / "net.pth"
    torch.save(swin_of_the_authors(published_network.state_dict()), path)
    model = start(identity("timm/swin_tiny_patch4_window7_224", image_size=64), path)
    path.unlink()  # 113 MB
    images = torch.rand(1, 3, 64, 64)
    normal = (images - model.normalize.mean) / model.normalize.std
    expected = published_network.forward_head(published_network.forward_features(normal), pre_logits=True)
    assert torch.equal(model(images).embedding, expected)


def test_resnet_50_of_torchvision_gives_torchvisions_embedding(tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).eval()
    path = tmp_path / "resnet50.pth"
    torch.save(theirs.state_dict(), path)
    model = start(identity("timm/resnet50", image_size=64), path)
    path.unlink()  # 102 MB
    theirs.fc = nn.Identity()
    images = torch.rand(2, 3, 64, 64)
    normal = torchvision.transforms.functional.normalize(images, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    torch.testing.assert_close(model(images).embedding, theirs(normal))


def test_both_heads_of_a_distilled_network_are_fresh(tmp_path):
    name = "deit_tiny_distilled_patch16_224"
    path = save(donor(name).state_dict(), tmp_path / "net.pth")
    one = identity(f"timm/{name}")
    drawn, model = build.model_of(one).network.state_dict(), start(one, path).network.state_dict()
    assert {key for key in drawn if torch.equal(drawn[key], model[key])} == {
        *("head.weight", "head.bias", "head_dist.weight", "head_dist.bias")
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("net.safetensors", b"not a checkpoint"),
        ("net.pth", b"not a checkpoint"),
        ("net.bin", b""),
        ("net.safetensors", b""),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert f"{name}: damaged, or no checkpoint of tensors alone" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["net.safetensors", "net.pth"])
@pytest.mark.parametrize("share", [0.1, 0.9, 0.999])
def test_a_truncated_file_is_refused(name, share, tmp_path):
    path = save(donor("test_vit").state_dict(), tmp_path / name)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "damaged" in refused(path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {}, {"epoch": 3}, torch.zeros(2)])
def test_a_checkpoint_without_tensors_by_name_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "net.pth")
    assert "net.pth: " in refused(tmp_path / "net.pth")


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.bin", "net.safetensors"])
def test_nothing_in_a_file_is_executed(name, write, tmp_path):
    state = dict(donor("test_vit").state_dict())
    write(state | {"extra": Trap(tmp_path / "sprung")}, tmp_path / name)
    assert "nothing else in it is executed" in refused(tmp_path / name)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(pickle.dumps(Trap(tmp_path / "sprung")))  # it would have
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("reference", SMALL)
@pytest.mark.parametrize(
    "other", [lambda: donor("test_convnext"), lambda: vit.build(classes=1000, variant="tiny").network]
)
def test_weights_of_another_network_are_refused(reference, other, tmp_path):
    path = save(other().state_dict(), tmp_path / "net.safetensors")
    said = refused(path, one=identity(reference))
    assert f"no weights of timm's {SMALL[reference]} with a classifier of 1000 classes" in said


def test_weights_of_another_size_of_the_same_network_are_refused(tmp_path):
    wide = timm.create_model("vitbench_t2t_tiny", num_classes=1000, embed_dim=60)
    path = save(wide.state_dict(), tmp_path / "net.pth")
    assert "size mismatch" in refused(path, one=identity("t2t/tiny"))


@pytest.mark.parametrize("reference", SMALL)
def test_one_tensor_more_or_less_is_refused(reference, tmp_path):
    state = donor(SMALL[reference]).state_dict()
    key = next(key for key in state if key.endswith("bias"))
    less = {name: value for name, value in state.items() if name != key}
    assert key in refused(save(less, tmp_path / "less.pth"), one=identity(reference))
    more = {**state, "surplus.weight": torch.zeros(2)}
    assert "surplus.weight" in refused(save(more, tmp_path / "more.pth"), one=identity(reference))


def test_a_tensor_that_timm_would_leave_as_it_was_drawn_is_missed(tmp_path):
    state = donor("dla46_c").state_dict()  # a family that timm loads without being strict
    path = save(state, tmp_path / "whole.pth")
    one = identity("timm/dla46_c", image_size=64)
    assert torch.equal(start(one, path).network.base_layer[0].weight, state["base_layer.0.weight"])
    del state["base_layer.0.weight"]
    assert "it lacks base_layer.0.weight" in refused(save(state, tmp_path / "less.pth"), one=one)


def test_published_weights_have_the_published_classes(tmp_path):
    network = timm.create_model("test_vit", num_classes=21841, img_size=32)
    said = refused(save(network.state_dict(), tmp_path / "net.pth"))
    assert "classifier of 1000 classes" in said
    assert "head.weight" in said


def test_nan_is_refused(tmp_path):
    state = donor("test_vit").state_dict()
    state["norm.weight"][0] = float("nan")
    assert "NaN or infinite in norm.weight" in refused(save(state, tmp_path / "net.pth"))


def test_a_file_that_changed_since_the_run_was_planned_is_refused(tmp_path):
    path = save(donor("test_vit").state_dict(), tmp_path / "net.pth")
    planned = published.digest(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataBroken, match="has changed since the run was planned"):
        weights.load(build.model_of(identity()), "timm/test_vit", path, digest=planned, image_size=32)


class Bare(nn.Module):
    num_features = 3

    def forward_features(self, x):
        return x

    def forward_head(self, x, pre_logits=False):
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        (nn.Linear(2, 2), "mypkg.nets.mine"),
        (Adapter(Bare()), "t2t/tiny"),
        (t2t.build(classes=7, variant="tiny"), "t2t/x"),
    ],
)
def test_a_model_that_has_no_published_weights_is_told_so(model, reference, file):
    with pytest.raises(UserError, match=f"{reference} cannot start from published weights") as caught:
        weights.load(model, reference, file, digest=published.digest(file), image_size=32)
    assert "\n" not in str(caught.value)


def test_a_network_that_differs_from_timms_by_that_name_is_refused(file):
    other = Adapter(timm.create_model("test_vit", num_classes=7, img_size=32, reg_tokens=2))
    with pytest.raises(UserError, match="timm/test_vit differs from timm's test_vit in"):
        weights.load(other, "timm/test_vit", file, digest=published.digest(file), image_size=32)


def test_a_pixel_range_that_the_weights_do_not_expect_is_refused(monkeypatch, file):
    monkeypatch.setitem(published.PUBLISHED, "vit/mine", "test_vit")
    network = timm.create_model("test_vit", num_classes=7, img_size=32)
    given = {"digest": published.digest(file), "image_size": 32}
    weights.load(Adapter(network), "vit/mine", file, **given)  # both spread the pixels over [-1, 1]
    shifted = Adapter(network, normalize=Normalize(mean=(0.485, 0.456, 0.406)))
    with pytest.raises(UserError, match=r"expect pixels of mean \(0.5, 0.5, 0.5\), .* \(0.485, 0.456, 0.406\)"):
        weights.load(shifted, "vit/mine", file, **given)
