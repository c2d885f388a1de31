"""LIQE features: the sheet's windows and prompts, CLIP against transformers, any batch size, the files on the disk."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from zoo.cli import main
from zoo.domains.quality import LIQE, LIQEFeatures, load_clip, prompts, read_aux, windows
from zoo.domains.quality.clip import CLIP, Sizes
from zoo.domains.quality.liqe import CLIP_MEAN, CLIP_STD, prompt_tokens
from zoo.errors import InputError
from zoo.training import DataError, read_image

SMALL = Sizes(224, 32, 128, 2, 64, 77, 49408, 64, 2)


@pytest.fixture(scope="module")
def clip() -> CLIP:
    """A CLIP of random weights with the vocabulary and image size of ViT-B/32."""
    torch.manual_seed(0)
    return CLIP(SMALL).eval().requires_grad_(False)


def photo(height: int, width: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0]
    return (fine * 255).to(torch.uint8)


def test_windows_of_the_sheet():
    square = windows(512, 512)
    assert square[:6] == [(0, 0), (0, 192), (32, 64), (32, 256), (64, 128), (96, 0)]
    assert (len(square), square[-1]) == (15, (256, 128))
    wide = windows(750, 1000)
    assert wide[1] == (28 // 25 * 32, 28 % 25 * 32)
    assert windows(1000, 750)[-1] == (736, 32)
    assert windows(300, 300) == [(0, 0)] * 15
    assert windows(224, 224) == [(0, 0)] * 15
    for height, width in ((512, 512), (750, 1000), (1000, 224)):
        assert all(y + 224 <= height and x + 224 <= width for y, x in windows(height, width))


def test_prompts_of_the_sheet():
    texts = prompts()
    assert len(texts) == 495
    assert texts[0] == "a photo of a animal with jpeg2000 compression artifacts, which is of bad quality"
    assert texts[11] == "a photo of a cityscape with jpeg2000 compression artifacts, which is of bad quality"
    assert texts[99] == "a photo of a animal with jpeg2000 compression artifacts, which is of poor quality"
    assert texts[494] == "a photo of a others with other artifacts, which is of perfect quality"
    assert texts[2 * 99 + 7 * 11 + 3] == "a photo of a still_life with blur artifacts, which is of fair quality"


def test_tokens_are_those_of_clips_vocabulary():
    # from OpenAI's byte-pair encoding: <start> a photo of a still _ life with j peg 2 0 0 0 compression artifacts , ...
    tokens = prompt_tokens()
    assert tokens.shape == (495, 24)
    numbers = "49406 320 1125 539 320 1170 318 970 593 73 11207 273 271 271 271 25638 30249 267 1448 533 539 2103 3027"
    assert tokens[7 * 11].tolist() == [*map(int, numbers.split()), 49407]
    assert (tokens == 49407).sum(1).eq(1).all()
    assert len({tuple(row) for row in tokens.tolist()}) == 495


def test_a_text_may_be_cut_behind_its_end(clip):
    short = prompt_tokens()[:5]
    padded = torch.nn.functional.pad(short, (0, 77 - short.shape[1]))
    torch.testing.assert_close(clip.encode_text(short), clip.encode_text(padded), atol=1e-6, rtol=1e-5)


def test_clip_equals_transformers():
    transformers = pytest.importorskip("transformers")
    vision = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2,
              "image_size": 64, "patch_size": 32, "hidden_act": "quick_gelu"}  # fmt: skip
    text = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 1,
            "vocab_size": 100, "max_position_embeddings": 16, "hidden_act": "quick_gelu", "eos_token_id": 99,
            "bos_token_id": 98, "pad_token_id": 0}  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    ).eval()
    with torch.no_grad():  # transformers starts biases at 0: nothing would show their place
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = CLIP(Sizes(64, 32, 128, 2, 32, 16, 100, 64, 2)).eval()
    ours.load_state_dict(openai_names(theirs.state_dict()))
    images, tokens = torch.randn(2, 3, 64, 64), torch.tensor([[98, 5, 6, 99, 0, 0], [98, 7, 8, 9, 10, 99]])
    with torch.no_grad():
        found = theirs(pixel_values=images, input_ids=tokens)
        torch.testing.assert_close(
            normalize(ours.encode_image(images), dim=-1), found.image_embeds, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(normalize(ours.encode_text(tokens), dim=-1), found.text_embeds, atol=1e-5, rtol=1e-4)


def openai_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers' names of a CLIP as OpenAI's."""
    result = {
        "logit_scale": state["logit_scale"],
        "text_projection": state["text_projection.weight"].T,
        "visual.proj": state["visual_projection.weight"].T,
        "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
        "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
    }
    norms = {"vision_model.pre_layrnorm": "visual.ln_pre", "vision_model.post_layernorm": "visual.ln_post",
             "text_model.final_layer_norm": "ln_final"}  # fmt: skip
    for kind in ("weight", "bias"):
        result |= {f"{ours}.{kind}": state[f"{theirs}.{kind}"] for theirs, ours in norms.items()}
        for tower, place in (("vision_model", "visual.transformer"), ("text_model", "transformer")):
            for layer in range(2):
                old, new = f"{tower}.encoder.layers.{layer}", f"{place}.resblocks.{layer}"
                qkv = [state[f"{old}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                result[f"{new}.attn.in_proj_{kind}"] = torch.cat(qkv)
                result[f"{new}.attn.out_proj.{kind}"] = state[f"{old}.self_attn.out_proj.{kind}"]
                pairs = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}
                result |= {f"{new}.{ours}.{kind}": state[f"{old}.{theirs}.{kind}"] for theirs, ours in pairs.items()}
    return result


def test_logits_equal_the_slow_way(clip):
    image = photo(420, 360)
    pixels = (image.float() / 255 - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)
    every = [pixels[:, y : y + 224, x : x + 224] for y in range(0, 420 - 223, 32) for x in range(0, 360 - 223, 32)]
    assert len(every) == 7 * 5
    chosen = torch.stack([every[k * (len(every) // 15)] for k in range(15)])
    padded = torch.nn.functional.pad(prompt_tokens(), (0, 77 - 24))
    with torch.no_grad():
        features = normalize(clip.encode_image(chosen), dim=-1)
        texts = normalize(torch.cat([clip.encode_text(part) for part in padded.split(99)]), dim=-1)
        expected = (clip.logit_scale.exp() * features @ texts.T).mean(0)
    found = LIQE(clip).logits(image)
    assert found.shape == (1, 495)
    torch.testing.assert_close(found[0], expected, atol=2e-4, rtol=1e-5)
    assert found.abs().max() > 2  # raw logits, no softmax


def test_any_batch_size_and_small_images(clip):
    liqe = LIQE(clip)
    images = [photo(300, 250, 1), photo(224, 500, 2), photo(100, 180, 3)]
    together = liqe.logits(images)
    for row, image in enumerate(images):
        torch.testing.assert_close(together[row], LIQE(clip).logits(image.float() / 255)[0])
    assert liqe.upscaled == 1
    batch = torch.stack([images[0], images[0].flip(2)])
    torch.testing.assert_close(liqe.logits(batch)[0], together[0])


def test_weights_files(clip, tmp_path):
    torch.save(clip.state_dict(), tmp_path / "LIQE.pt")
    loaded = load_clip(tmp_path / "LIQE.pt")
    assert loaded.sizes == SMALL
    torch.testing.assert_close(LIQE(loaded).logits(photo(224, 224)), LIQE(clip).logits(photo(224, 224)))
    halves = {name: value.half() for name, value in clip.state_dict().items()}
    torch.save({**halves, "context_length": torch.tensor(77)}, tmp_path / "half.pt")
    assert load_clip(tmp_path / "half.pt").logit_scale.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("ln_final.bias"), "1 tensors do not fit: ln_final.bias (missing)"),
        (lambda state: state.update(extra=torch.ones(1)), "1 tensors do not fit: extra (not in a CLIP ViT)"),
        (
            lambda state: state.update({"visual.ln_pre.bias": torch.ones(3)}),
            "visual.ln_pre.bias ((3,), expected (128,))",
        ),
        (lambda state: state.pop("logit_scale"), "no CLIP state dict with OpenAI's names: missing logit_scale"),
        (lambda state: state["logit_scale"].fill_(float("nan")), "holds values that are not finite"),
        (lambda state: state.update(name="ViT"), "holds no tensors by name"),
    ],
)
def test_wrong_weights_are_named(clip, tmp_path, change, message):
    state = {name: value.clone() for name, value in clip.state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "LIQE.pt")
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / 'LIQE.pt'))}: .*{re.escape(message)}"):
        load_clip(tmp_path / "LIQE.pt")


def test_no_weights_and_no_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no such file; LIQE's weights are LIQE\.pt of the authors"):
        load_clip(tmp_path / "LIQE.pt")
    (tmp_path / "LIQE.pt").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="cannot be read as a state dict"):
        load_clip(tmp_path / "LIQE.pt")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for name, size in (("a.jpg", (260, 240)), ("deep/b.png", (230, 300)), ("small.png", (90, 100))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(*size).permute(1, 2, 0).numpy()).save(folder / name)
    return folder


def test_zoo_data_make_liqe(clip, photos, tmp_path, capsys):
    weights = tmp_path / "LIQE.pt"
    torch.save(clip.state_dict(), weights)
    out = tmp_path / "features"
    command = [*map(str, ("data", "make", "liqe", "--from", photos, "--out", out, "--data.weights", weights))]
    assert main(command) == 0
    told = capsys.readouterr().err
    assert "1 images under 224 px were enlarged to it for LIQE" in told
    assert "3 images: 3 computed, 0 from the cache" in told
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*.npy")) == ["a.npy", "deep/b.npy", "small.npy"]
    for name in ("a.jpg", "deep/b.png", "small.png"):
        found = np.load((out / name).with_suffix(".npy"))
        assert (found.dtype, found.shape) == (np.float32, (495,))
        expected = LIQE(clip).logits(read_image(photos / name))[0]
        torch.testing.assert_close(read_aux(out, name), expected, atol=1e-4, rtol=1e-4)
    assert main(command) == 0
    assert "3 images: 0 computed, 3 from the cache" in capsys.readouterr().err
    assert main(["data", "verify", "liqe", "--root", str(out)]) == 0
    assert "train  3 items" in capsys.readouterr().out


def test_making_says_what_is_missing(photos, tmp_path):
    with pytest.raises(InputError, match=r"make liqe needs LIQE's CLIP weights: --data\.weights LIQE\.pt"):
        LIQEFeatures().prepare(photos, tmp_path / "out")


def test_corrupt_and_ambiguous_photographs(clip, photos, tmp_path, capsys):
    torch.save(clip.state_dict(), tmp_path / "LIQE.pt")
    (photos / "broken.jpg").write_bytes(b"no image")
    data = LIQEFeatures(weights=str(tmp_path / "LIQE.pt"))
    with pytest.raises(DataError, match=re.escape(f"{photos / 'broken.jpg'}: is no image that can be read")):
        data.prepare(photos, tmp_path / "out")
    data = LIQEFeatures(weights=str(tmp_path / "LIQE.pt"), on_error="skip")
    data.prepare(photos, tmp_path / "out")
    assert "1 of 4 images cannot be read and have no features" in capsys.readouterr().err
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 3
    Image.new("RGB", (230, 230)).save(photos / "a.png")
    with pytest.raises(InputError, match="a: several images of this name differ in their ending only; rename one"):
        data.prepare(photos, tmp_path / "out")


def test_reading_takes_the_released_forms(tmp_path):
    values = np.linspace(-1, 30, 495)
    np.save(tmp_path / "1_Indoor_Scene_5.npy", values.astype(np.float16)[None])
    found = read_aux(tmp_path, "Overall\\1_Indoor_Scene_5.JPG")
    assert (found.dtype, found.shape) == (torch.float32, (495,))
    torch.testing.assert_close(found, torch.from_numpy(values.astype(np.float16)).float())
    (tmp_path / "Overall").mkdir()
    np.save(tmp_path / "Overall" / "1_Indoor_Scene_5.npy", np.zeros(495, dtype=np.float32))
    assert read_aux(tmp_path, "Overall/1_Indoor_Scene_5.JPG").abs().max() == 0  # the longer path first


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(494, dtype=np.float32), "expected 495 LIQE logits, found float32 (494,)"),
        (np.zeros(495, dtype=np.int64), "expected 495 LIQE logits, found int64 (495,)"),
        (np.where(np.arange(495) == 7, np.nan, 0.0), "logit 7 is not finite"),
    ],
)
def test_wrong_features_are_named(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'a.npy'}: {message}")):
        read_aux(tmp_path, "a.jpg")


def test_missing_features_say_what_makes_them(tmp_path):
    with pytest.raises(DataError) as caught:
        read_aux(tmp_path, "Overall/a.jpg")
    assert str(caught.value) == (
        f"Overall/a.jpg: there are no LIQE features {tmp_path / 'a.npy'}; make them: zoo data make liqe --from PHOTOS "
        f"--out {tmp_path} --data.weights LIQE.pt, or switch the branch off: model.init_args.liqe: false"
    )
