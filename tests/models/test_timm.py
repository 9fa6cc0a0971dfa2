import pytest
import timm as library
import torch
import torchvision

from vitbench.errors import UserError
from vitbench.models import timm


@pytest.mark.parametrize(
    ("variant", "mean", "std"),
    [
        ("convnext_nano", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # of ImageNet
        ("vit_tiny_patch16_224", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    ],
)
def test_the_network_gets_the_pixel_range_that_it_was_designed_for(variant, mean, std):
    with torch.device("meta"):
        network = library.create_model(variant, num_classes=4)
    normalize = timm.build(classes=4, image_size=32, variant=variant).normalize
    assert network.num_classes == 4
    torch.testing.assert_close(normalize.mean.flatten(), torch.tensor(mean))
    torch.testing.assert_close(normalize.std.flatten(), torch.tensor(std))


@pytest.mark.parametrize(
    ("variant", "grid"),
    [
        ("test_vit", (64, 4, 4)),  # patches of 16
        ("swin_tiny_patch4_window7_224", (768, 2, 2)),
        ("test_resnet", (96, 2, 2)),
        ("levit_128s", (384, 1, 1)),
    ],
)
def test_networks_of_one_image_size_are_built_for_the_one_asked_for(variant, grid):
    with torch.device("meta"):
        model = timm.build(classes=4, image_size=64, variant=variant)
    assert model(torch.empty(2, 3, 64, 64, device="meta")).grids[0].shape == (2, *grid)


def test_the_logits_are_those_of_the_network_that_timm_makes():
    torch.manual_seed(0)
    model = timm.build(classes=4, image_size=32, variant="test_vit").eval()
    torch.manual_seed(0)
    network = library.create_model("test_vit", num_classes=4, img_size=32).eval()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(images).logits, network(2 * images - 1))


def test_with_the_same_weights_resnet50_is_that_of_torchvision_and_the_grid_its_last_map():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(num_classes=7).train()
    with torch.no_grad():
        theirs(torch.rand(4, 3, 64, 64))  # so that no running mean or variance is where it starts
    model = timm.build(classes=7, image_size=224, variant="resnet50").eval()
    model.network.load_state_dict(theirs.eval().state_dict(), strict=True)
    images = torch.rand(1, 3, 224, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    trunk = torch.nn.Sequential(*list(theirs.children())[:-2])
    with torch.no_grad():
        out, features, logits = model(images), trunk(normalised), theirs(normalised)
    torch.testing.assert_close(out.logits, logits, rtol=1e-4, atol=1e-4)
    assert out.grids[0].shape == (1, 2048, 7, 7)
    torch.testing.assert_close(out.grids[0], features, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["convnext_nanno", "convnext_nano.no_such_tag", "hf-hub:timm/convnext_nano", ""])
def test_an_unknown_name_is_refused_with_a_few_near_ones(variant):
    with pytest.raises(UserError, match="unknown timm model") as caught:
        timm.build(classes=4, image_size=32, variant=variant)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_is_answered_with_the_right_one():
    with pytest.raises(UserError, match="did you mean convnext_nano"):
        timm.build(classes=4, image_size=32, variant="convnext_nanno")


def test_a_name_with_the_tag_of_published_weights_is_known():
    tagged = next(name for name in library.list_pretrained("test_vit.*"))
    assert timm.build(classes=4, image_size=32, variant=tagged)(torch.rand(2, 3, 32, 32)).logits.shape == (2, 4)


@pytest.mark.parametrize("variant", ["pit_ti_224", "coat_tiny"])
def test_networks_that_have_no_single_map_are_refused(variant):
    model = timm.build(classes=4, image_size=64, variant=variant)
    with pytest.raises(UserError, match="cannot tell the layout"):
        model(torch.rand(2, 3, 64, 64))


def test_a_network_of_ours_is_known_by_the_name_that_timm_has_for_it():
    from vitbench.models import t2t  # noqa: F401 - registers its variants

    model = timm.build(classes=4, image_size=64, variant="vitbench_t2t_tiny")
    assert model(torch.rand(2, 3, 64, 64)).grids[0].shape == (2, 48, 8, 8)
