"""Released files: RDE's layout and CLIP's two, whole, damaged, in every precision."""

import pytest
import torch
from safetensors.torch import load_file

from zoo.checkpoint import convert as convert_file
from zoo.domains.reid import TextTransformer, VisionTransformer
from zoo.domains.reid.convert import PARTS, clip_names, convert, resize_positions
from zoo.errors import InputError

HALVED = ("weight", "bias", "proj", "in_proj_weight", "in_proj_bias", "text_projection")


@pytest.fixture(scope="module")
def layout():
    """Names and shapes of the released layout, every tensor a single repeated number: no memory is taken."""
    from zoo.domains.reid.network import RDENetwork

    with torch.device("meta"):
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in RDENetwork().state_dict().items()}
    ours = {**{f"base_model.{name}": f"towers.{mine}" for name, mine in clip_names().items()}, **selection()}
    return {
        name: torch.zeros((), dtype=shapes[mine][1]).add(number % 7).expand(shapes[mine][0])
        for number, (name, mine) in enumerate(ours.items())
    }


def selection():
    names = {}
    for theirs, mine, fc in (("visul", "image", "fc"), ("texual", "text", "linear")):
        pairs = [(fc, "fc"), ("mlp.layers.0", "inner"), ("mlp.layers.1", "outer")]
        pairs += [("linear", "unused.linear")] if mine == "image" else []
        for part in ("weight", "bias"):
            names |= {f"{theirs}_emb_layer.{a}.{part}": f"{mine}_selection.{b}.{part}" for a, b in pairs}
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            for a, b in (("mlp.bns.0", "norm"), ("mlp.bns.1", "unused.norm")):
                names[f"{theirs}_emb_layer.{a}.{part}"] = f"{mine}_selection.{b}.{part}"
    return names


def test_every_tensor_has_a_place(layout):
    assert len(layout) == 301 + 18 + 16
    state, notes = convert(layout)
    assert len(state) == len(layout)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in state.values())
    assert any("never used: visul_emb_layer.linear and mlp.bns.1" in note for note in notes)
    buffers = layout["visul_emb_layer.mlp.bns.0.running_mean"]
    assert torch.equal(state["network.image_selection.norm.running_mean"], buffers)
    assert state["network.text_selection.norm.num_batches_tracked"].dtype == torch.int64


def test_mixed_precision_and_prefix(layout):
    mixed = {
        f"module.{name}": tensor.half() if name.endswith(HALVED) and "ln_" not in name and "bns" not in name else tensor
        for name, tensor in layout.items()
    }
    halves = sum(tensor.dtype == torch.float16 for tensor in mixed.values())
    state, notes = convert({**mixed, "module.base_model.logit_scale": torch.tensor(4.6)})
    assert all(tensor.dtype != torch.float16 for tensor in state.values())
    assert any(f"turned {halves} of 335 tensors from half precision" in note for note in notes)
    assert any("dropped base_model.logit_scale" in note for note in notes)


@pytest.mark.facts
def test_names_are_those_of_the_check_file(layout, check):
    doc = check.load("rde.json")
    assert {entry["name"]: tuple(entry["shape"]) for entry in doc["keys"]} == {
        name: tuple(tensor.shape) for name, tensor in layout.items()
    }


def test_what_does_not_belong_is_named(layout):
    short = {name: tensor for name, tensor in layout.items() if name != "visul_emb_layer.fc.bias"}
    with pytest.raises(InputError, match=r"no released RDE model: tensors 1 missing: visul_emb_layer.fc.bias"):
        convert(short)
    with pytest.raises(InputError, match=r"1 unexpected: classifier.weight"):
        convert({**layout, "classifier.weight": torch.zeros(1)})
    with pytest.raises(InputError, match=r"base_model.ln_final.bias: holds values that are not finite"):
        convert({**layout, "base_model.ln_final.bias": torch.full((512,), torch.nan)})
    with pytest.raises(InputError, match=r"base_model.ln_final.bias: expected real numbers, found torch.int64"):
        convert({**layout, "base_model.ln_final.bias": torch.zeros(512, dtype=torch.int64)})


def clip(layout):
    return {name.removeprefix("base_model."): tensor for name, tensor in layout.items() if "base_model." in name}


def test_clip_of_openai_as_a_part(layout):
    table = torch.arange(197 * 768.0).view(197, 768)
    given = {**clip(layout), "visual.positional_embedding": table / 10, "logit_scale": torch.tensor(4.6),
             "input_resolution": torch.tensor(224), "context_length": torch.tensor(77)}  # fmt: skip
    state, notes = PARTS["clip"](given)
    assert state["image.positional_embedding"].shape == (193, 768)
    assert set(state) == set(clip_names().values())
    assert any("resized the position embeddings of the image tower from 197 to 193" in note for note in notes)
    assert any("dropped input_resolution, context_length" in note for note in notes)


def test_clip_of_transformers_gives_what_that_of_openai_gives(layout):
    torch.manual_seed(0)
    given = {name: torch.randn(1).expand(tensor.shape) for name, tensor in clip(layout).items()}
    for name in [name for name in given if "in_proj" in name]:
        given[name] = torch.cat([torch.randn(1).expand(given[name].chunk(3)[0].shape) for _ in range(3)])
    hub = as_hub(given)
    one, two = (
        PARTS["clip"](given)[0],
        PARTS["clip"]({**hub, "text_model.embeddings.position_ids": torch.arange(77)})[0],
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    del hub["vision_model.encoder.layers.3.self_attn.k_proj.bias"]
    with pytest.raises(InputError, match=r"missing: vision_model.encoder.layers.3.self_attn.k_proj.bias"):
        PARTS["clip"](hub)


def as_hub(openai):
    """OpenAI's tensors under transformers' names, written down independently of convert.py."""
    result = {}
    for name, tensor in openai.items():
        side = "vision_model" if name.startswith("visual.") else "text_model"
        rest = name.removeprefix("visual.")
        if ".resblocks." in rest:
            _, _, layer, inner = rest.split(".", 3)
            base = f"{side}.encoder.layers.{layer}."
            if "in_proj" in inner:
                kind = inner.rpartition("_")[2]
                for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                    result[f"{base}self_attn.{letter}_proj.{kind}"] = third
                continue
            for ours, theirs in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"), ("c_fc", "fc1"),
                                 ("ln_2", "layer_norm2"), ("c_proj", "fc2")):  # fmt: skip
                inner = inner.replace(ours, theirs)
            result[base + inner] = tensor
        elif name == "visual.proj":
            result["visual_projection.weight"] = tensor.T
        elif name == "text_projection":
            result["text_projection.weight"] = tensor.T
        else:
            for ours, theirs in (("positional_embedding", "embeddings.position_embedding.weight"),
                                 ("token_embedding", "embeddings.token_embedding"), ("ln_final", "final_layer_norm"),
                                 ("class_embedding", "embeddings.class_embedding"), ("ln_pre", "pre_layrnorm"),
                                 ("conv1", "embeddings.patch_embedding"), ("ln_post", "post_layernorm")):  # fmt: skip
                rest = rest.replace(ours, theirs)
            result[f"{side}.{rest}"] = tensor
    return result


SMALL = {"hidden_size": 24, "intermediate_size": 96, "num_hidden_layers": 12, "num_attention_heads": 2}


@pytest.fixture
def towers():
    """Our towers in CLIP's depth and a small width, for 32x32; and two images, two captions ``(2, 10)``."""
    image = VisionTransformer((32, 32), patch=16, width=24, layers=12, heads=2, embed=20)
    text = TextTransformer("hashed", 64, 10, width=24, layers=12, heads=2, embed=20)
    tokens = torch.tensor([[62, 7, 8, 9, 63, 0, 0, 0, 0, 0], [62, 5, 6, 7, 8, 9, 10, 11, 12, 63]])
    return torch.nn.ModuleDict({"image": image, "text": text}).eval(), torch.randn(2, 3, 32, 32), tokens


@torch.no_grad()
def compare(towers, images, tokens, image_features, text_features):
    """Our global tokens are the features that the other library gives."""
    seen, read = towers["image"](images), towers["text"](tokens)
    torch.testing.assert_close(seen.tokens[:, 0], image_features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(read.tokens[range(2), read.position], text_features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_transformers_own_clip_gives_its_features(towers, prefix):
    library = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = library.CLIPConfig(
        text_config={**SMALL, "vocab_size": 64, "max_position_embeddings": 10, "eos_token_id": 63, "bos_token_id": 62},
        vision_config={**SMALL, "image_size": 32, "patch_size": 16},
        projection_dim=20,
    )
    theirs = library.CLIPModel(config).eval()
    ours, images, tokens = towers
    state, notes = PARTS["clip"]({f"{prefix}{name}": tensor for name, tensor in theirs.state_dict().items()})
    ours.load_state_dict(state)
    assert any("dropped logit_scale" in note for note in notes)
    with torch.no_grad():
        output = theirs(input_ids=tokens, pixel_values=images)
    seen, read = (hidden.last_hidden_state for hidden in (output.vision_model_output, output.text_model_output))
    seen = theirs.visual_projection(theirs.vision_model.post_layernorm(seen[:, 0]))
    compare(ours, images, tokens, seen, theirs.text_projection(read[range(2), tokens.argmax(1)]))


def test_a_clip_of_openais_names_gives_its_features(towers):
    library = pytest.importorskip("open_clip.model")
    torch.manual_seed(0)
    theirs = library.CLIP(
        20,
        library.CLIPVisionCfg(layers=12, width=24, head_width=12, patch_size=16, image_size=32),
        library.CLIPTextCfg(context_length=10, vocab_size=64, width=24, heads=2, layers=12),
        quick_gelu=True,
    ).eval()
    ours, images, tokens = towers
    state, _ = PARTS["clip"]({f"module.{name}": tensor for name, tensor in theirs.state_dict().items()})
    ours.load_state_dict(state)
    with torch.no_grad():
        compare(ours, images, tokens, theirs.encode_image(images), theirs.encode_text(tokens))


@pytest.mark.facts
def test_a_mixed_clip_file_becomes_a_part_file(layout, tmp_path):
    """Full size, float16 as OpenAI stores it: every tensor one repeated number, so that the file is small."""
    given = {
        f"module.{name}": tensor.half() if name.endswith(HALVED) and "ln_" not in name else tensor
        for name, tensor in clip(layout).items()
    }
    file, out = tmp_path / "ViT-B-16.pt", tmp_path / "clip.safetensors"
    torch.save(given, file)
    notes = convert_file("reid/rde_cuhkpedes", file, out, part="clip", half=True)
    assert any("from half precision to float32" in note for note in notes)
    assert notes[-1] == f"recipes take it as model.init_args.init_from: {{clip: {out}}}"
    state = load_file(out)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    for name, ours in clip_names().items():
        assert torch.equal(state[ours].flatten()[:3].float(), layout[f"base_model.{name}"].flatten()[:3].float()), name


def test_position_embeddings_of_the_sheet():
    table = resize_positions(torch.arange(197 * 4.0).view(197, 4), (14, 14), (24, 8))
    assert table.shape == (193, 4)
    torch.testing.assert_close(table[0], torch.arange(4.0))
    torch.testing.assert_close(table[1], torch.tensor([5.5, 6.5, 7.5, 8.5]))
    torch.testing.assert_close(table[2], torch.tensor([12.5, 13.5, 14.5, 15.5]))
    torch.testing.assert_close(table[-1], torch.tensor([782.5, 783.5, 784.5, 785.5]))
