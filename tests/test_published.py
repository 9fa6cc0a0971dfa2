import hashlib
import os
import sys

import pytest
import timm

from vitbench import published
from vitbench.errors import DataAbsent, DataBroken

SWIN = "swin/swin_tiny"


def put(folder, *names):
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def one_line(caught):
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (SWIN, "swin_tiny.safetensors"),
        ("timm/resnet50", "resnet50.pth"),
        ("timm/resnet50.a1_in1k", "resnet50.a1_in1k.bin"),
        ("t2t/t2t_vit_14", "t2t_vit_14.pt"),
        ("mypkg.nets.mine", "mypkg.nets.mine.pth"),
    ],
)
def test_the_file_is_named_after_the_variant(reference, name, tmp_path):
    assert published.find(reference, put(tmp_path, name)) == tmp_path / name


def test_safetensors_come_first_and_nothing_else_is_taken(tmp_path):
    put(tmp_path, "swin_tiny.bin", "swin_tiny.pth", "swin_tiny.pt", "swin_tiny.pth.tar", "swin_tiny", "tiny.pth")
    assert published.find(SWIN, tmp_path).name == "swin_tiny.pth"
    assert published.find(SWIN, put(tmp_path, "swin_tiny.safetensors")).name == "swin_tiny.safetensors"
    (tmp_path / "resnet50.pth").mkdir()
    assert published.find("timm/resnet50", tmp_path) is None


def test_no_folder_and_an_absent_one_hold_nothing(tmp_path):
    assert published.find(SWIN, None) is None
    assert published.find(SWIN, tmp_path / "absent") is None


def test_the_users_home_is_meant_by_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(put(tmp_path, "swin_tiny.pth")))
    assert published.find(SWIN, published.Path("~")) == tmp_path / "swin_tiny.pth"


def test_absent_weights_are_told_with_what_to_fetch_and_where_to_put_it(tmp_path):
    with pytest.raises(DataAbsent) as caught:
        published.ensure(SWIN, tmp_path)
    message = one_line(caught)
    assert f"{tmp_path} holds no swin_tiny.safetensors (or .pth, .pt, .bin)" in message
    assert "model.safetensors of https://huggingface.co/timm/swin_tiny_patch4_window7_224.ms_in1k" in message
    assert "as swin_tiny.safetensors into a folder that --weights DIR" in message
    assert "--download" in message


def test_without_a_folder_the_option_is_named():
    with pytest.raises(
        DataAbsent, match=r"no folder is named.*--weights DIR \(environment: VITBENCH_WEIGHTS\)"
    ) as caught:
        published.ensure("timm/resnet50", None, fetch=pytest.fail)
    assert "timm/resnet50.tv_in1k" in one_line(caught)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("t2t/t2t_vit_14", "81.5_T2T_ViT_14.pth.tar .* is not converted; .* vitbench_t2t_t2t_vit_14"),
        ("vit/tiny", "the state_dict of timm's vitbench_vit_tiny, .* as tiny.safetensors"),
        ("timm/resnet18", "the state_dict of timm's resnet18,"),  # of which timm has several
    ],
)
def test_what_no_repository_is_known_for_is_not_fetched(reference, said, tmp_path):
    with pytest.raises(DataAbsent, match=said) as caught:
        published.ensure(reference, tmp_path, fetch=pytest.fail)
    assert "huggingface.co" not in one_line(caught)


@pytest.mark.parametrize("reference", published.PUBLISHED)
def test_timm_knows_the_published_weights_by_the_same_name_of_the_hub(reference):
    config = timm.get_pretrained_cfg(published.timm_name(reference))
    assert config.hf_hub_id == f"timm/{published.PUBLISHED[reference]}"
    assert (config.num_classes, config.custom_load) == (1000, False)


def test_a_download_asks_for_the_repository_once_and_is_found_the_next_time(tmp_path):
    asked = []

    def fetch(repository, path):
        asked.append(repository)
        path.write_bytes(b"weights")

    for _ in range(2):
        assert published.ensure(SWIN, tmp_path, fetch=fetch) == tmp_path / "swin_tiny.safetensors"
    assert asked == ["timm/swin_tiny_patch4_window7_224.ms_in1k"]


def test_a_tag_in_the_name_is_the_repository(tmp_path):
    asked = []
    published.ensure("timm/resnet50.a1_in1k", tmp_path, fetch=lambda repository, path: asked.append((repository, path)))
    assert asked == [("timm/resnet50.a1_in1k", tmp_path / "resnet50.a1_in1k.safetensors")]


def test_a_download_that_fails_is_one_line_with_the_way_out(tmp_path):
    def fetch(repository, path):
        raise ConnectionError("no route\nto host")

    with pytest.raises(DataAbsent, match=r"could not be fetched \(no route\); .* put it at .*swin_tiny.safe") as caught:
        published.ensure(SWIN, tmp_path, fetch=fetch)
    one_line(caught)


def test_the_hub_is_asked_through_its_own_client_and_leaves_a_whole_file(tmp_path, monkeypatch):
    import huggingface_hub

    asked = []

    def hf_hub_download(*what):
        asked.append(what)
        return put(tmp_path, "cached") / "cached"

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
    path = published.ensure(SWIN, tmp_path / "new", fetch=published.from_hub)
    assert asked == [("timm/swin_tiny_patch4_window7_224.ms_in1k", "model.safetensors")]
    assert path.read_bytes() == b"cached"
    assert [one.name for one in path.parent.iterdir()] == ["swin_tiny.safetensors"]


def test_the_digest_is_that_of_the_content(tmp_path):
    path = put(tmp_path, "swin_tiny.pth") / "swin_tiny.pth"
    assert published.digest(path) == hashlib.sha256(b"swin_tiny.pth").hexdigest()
    path.write_bytes(b"other weights")
    assert published.digest(path) == hashlib.sha256(b"other weights").hexdigest()
    os.utime(path, ns=(1, 1))
    path.write_bytes(b"OTHER weights")  # of the same size
    assert published.digest(path) == hashlib.sha256(b"OTHER weights").hexdigest()


def test_a_file_is_read_once_for_many_digests(tmp_path, monkeypatch):
    path = put(tmp_path, "swin_tiny.pth") / "swin_tiny.pth"
    first = published.digest(path)
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert published.digest(path) == first


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataBroken, match=f"{tmp_path / 'gone.pth'} cannot be read") as caught:
        published.digest(tmp_path / "gone.pth")
    one_line(caught)


def test_a_folder_that_nobody_may_look_into_is_named(tmp_path):
    with pytest.raises(DataBroken, match="cannot be read"):
        published.find(SWIN, tmp_path / ("x" * 300))  # longer than a name may be


def test_neither_torch_nor_timm_nor_the_hub_is_imported_to_find_weights(tmp_path):
    import subprocess

    code = "import sys; from vitbench import published; from pathlib import Path; "
    code += f"published.find({SWIN!r}, Path('.')); print({{'torch', 'timm', 'huggingface_hub'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
