"""The network: the released model's outputs stage by stage, its parameter counts, precisions, and bad input."""

import copy

import pytest
import torch

from zoo.domains.reid.clip import TextTransformer
from zoo.domains.reid.convert import convert
from zoo.domains.reid.network import RDENetwork, similarities, store_weights
from zoo.domains.reid.selection import TokenSelection
from zoo.domains.reid.towers import TowerOutput


@pytest.fixture(scope="module")
def released():
    """The full network, built once."""
    return RDENetwork().eval()


def filled(network, check, name):
    doc = check.load(name)
    state, inputs = check.fill.make_checkpoint(doc), check.fill.inputs(doc)
    check.fill.check_fill(doc, state, inputs)
    ours, _ = convert(state)
    network.load_state_dict({key.removeprefix("network."): value for key, value in ours.items()})
    return doc, inputs["images"], inputs["captions"]


def test_parameter_counts_are_those_of_the_sheet(released):
    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(released.towers) == 149_617_664
    assert count(released.image_selection) == 1_841_664
    assert count(released.text_selection) == 1_316_352
    assert count(released) == 152_775_680
    assert sum(p.numel() for p in released.parameters() if not p.requires_grad) == 529_408


@pytest.mark.facts
@torch.no_grad()
def test_released_outputs(released, check):
    doc, images, captions = filled(released, check, "rde.json")
    image, text = released.encode_image(images), released.encode_text(captions)
    assert image.bge.shape == (2, 512)
    assert text.tse.shape == (3, 1024)
    got = {f"similarity_{name}": value for name, value in similarities(image, text)._asdict().items()}
    for side, found in (("image", image), ("text", text)):
        for name, value in found._asdict().items():
            got[f"{name}_{side}"] = {"first8": value[:, :8], "norm": value.norm(dim=1), "sum": value.sum(1)}
    assert check.fill.compare(doc["expected"], got, **doc["tolerance"]) == []


@pytest.mark.facts
@torch.no_grad()
def test_released_outputs_after_every_stage(released, check):
    doc, images, captions = filled(released, check, "stages_rde.json")
    got, digest, hooks = {}, check.stages.digest, []

    def watch(name, module):
        def keep(_module, _inputs, output):
            got[name] = digest(output[0] if isinstance(output, tuple) else output)

        hooks.append(module.register_forward_hook(keep))

    watch("image.patches", released.image_tower.conv1)
    watch("image.after_ln_pre", released.image_tower.ln_pre)
    for layer in range(12):
        watch(f"image.block{layer}", released.image_tower.transformer.resblocks[layer])
        watch(f"text.block{layer}", released.text_tower.transformer.resblocks[layer])
    outputs = {"image": released.image_tower(images), "text": released.text_tower(captions)}
    for hook in hooks:
        hook.remove()
    found = {"image": released.encode_image(images), "text": released.encode_text(captions)}
    for side, row in (("image", "cls_attention_row"), ("text", "end_attention_row")):
        output = outputs[side]
        got[f"{side}.tokens"] = digest(output.tokens)
        got[f"{side}.{row}"] = digest(output.attention[torch.arange(len(output.tokens)), output.position])
        for name, value in found[side]._asdict().items():
            got[f"{side}.{name}"], got[f"{side}.{name}_norms"] = digest(value), value.norm(dim=1).tolist()
    positions, _ = released.image_selection.select(outputs["image"])
    got["image.selected_tokens"] = {
        "count": positions.shape[1],
        "rows_sorted_by_index": positions.sort().values.tolist(),
        "best10_in_order": positions[:, :10].tolist(),
    }
    positions, valid = released.text_selection.select(outputs["text"])
    words = [row[real].tolist() for row, real in zip(positions, valid, strict=True)]
    got["text.selected_word_tokens"] = {
        "k": positions.shape[1],
        "rows_sorted_by_index": [sorted(row) for row in words],
        "best10_in_order": [row[:10] for row in words],
        "rows_pooled": valid.sum(1).tolist(),
    }
    for name, value in similarities(found["image"], found["text"])._asdict().items():
        got[f"similarity.{name}"] = value.tolist()
    bad = {name: wrong for name, wrong in check.stages.check(doc, got).items() if wrong}
    assert bad == {}
    assert set(got) == set(doc["expected"])


@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
@torch.no_grad()
def test_stored_in_half_precision_norms_stay_and_outputs_are_close(network, weights):
    half = copy.deepcopy(network)
    store_weights(half, weights)
    kept = {name for name, tensor in half.state_dict().items() if tensor.dtype == torch.float32}
    assert all(any(part in name for part in ("ln_", "embedding", "norm.")) for name in kept)
    assert half.image_tower.proj.dtype == half.text_tower.text_projection.dtype == getattr(torch, weights)
    assert half.image_selection.inner.weight.dtype == getattr(torch, weights)
    images, tokens = torch.randn(3, 3, 32, 16), torch.tensor([[62, 5, 6, 7, 63, *[0] * 7]] * 2)
    one, two = network(images, tokens), half(images, tokens)
    assert all(output.dtype == torch.float32 for output in two)
    # TSE may select another token where two are close: the global embeddings are compared
    torch.testing.assert_close(one.image_bge, two.image_bge, rtol=0, atol=0.05 * one.image_bge.abs().max().item())
    torch.testing.assert_close(one.text_bge, two.text_bge, rtol=0, atol=0.05 * one.text_bge.abs().max().item())


def test_selection_against_a_plain_loop():
    torch.manual_seed(1)
    selection = TokenSelection(4, 6, ratio=0.5, specials=2).eval()
    tokens, attention = torch.randn(3, 10, 4), torch.rand(3, 10, 10)
    ends = torch.tensor([9, 4, 2])  # 8, 3 and 1 words; k = 4
    place = torch.arange(10)
    real = (place > 0) & (place < ends.unsqueeze(1))
    output = TowerOutput(tokens, attention, ends, real)
    with torch.no_grad():
        got = selection(output)
        for row, end in enumerate(ends.tolist()):
            words = sorted(range(1, end), key=lambda i: -attention[row, end, i].item())[: min(4, end - 1)]
            features = []
            for word in words:
                x = tokens[row, word] / (tokens[row, word].norm() + 1e-8)
                hidden = torch.relu(selection.norm(selection.inner(x)[None]))[0]
                features.append(selection.outer(hidden) + selection.fc(x))
            torch.testing.assert_close(got[row], torch.stack(features).max(0).values)


def test_a_word_without_attention_still_stands_before_padding():
    selection = TokenSelection(4, 6, ratio=1.0, specials=2).eval()
    real = torch.tensor([[False, True, True, False, False, False]])
    output = TowerOutput(torch.randn(1, 6, 4), torch.zeros(1, 6, 6), torch.tensor([3]), real)
    positions, valid = selection.select(output)
    assert sorted(positions[valid].tolist()) == [1, 2]
    assert positions.shape == (1, 4)


def test_captions_do_not_depend_on_their_batch_nor_on_ids_behind_the_end(network):
    tokens = torch.tensor([[62, 5, 6, 7, 63, 0, 0, 0, 0, 0, 0, 0], [62, 9, 63, *[0] * 9], [62, *range(1, 11), 63]])
    with torch.no_grad():
        whole = network.encode_text(tokens)
        for row in range(3):
            alone = network.encode_text(tokens[row : row + 1])
            torch.testing.assert_close(whole.bge[row], alone.bge[0])
            torch.testing.assert_close(whole.tse[row], alone.tse[0])
    assert torch.isfinite(whole.tse).all()


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([[62, 5, 63, *[0] * 9], [62, 63, *[0] * 10]]), "caption 1 is empty"),
        (torch.zeros(1, 12, dtype=torch.long), "caption 0 is empty"),
        (torch.ones(2, 11, dtype=torch.long), r"shape \(2, 11\) given, expected \(B, 12\)"),
        (torch.ones(2, 12), "expected whole numbers"),
        (torch.tensor([[62, 64, 5, 63, *[0] * 8]]), "ids must be 0 to 63, got 0 to 64"),
    ],
)
def test_wrong_tokens_are_named(network, tokens, message):
    with pytest.raises(ValueError, match=message):
        network.encode_text(tokens)


def test_wrong_images_and_towers_are_named(network):
    with pytest.raises(ValueError, match=r"images: shape \(1, 3, 16, 32\) given, expected \(B, 3, 32, 16\)"):
        network.encode_image(torch.zeros(1, 3, 16, 32))
    with pytest.raises(ValueError, match="embed: 16 in the image tower, 8 in the text tower"):
        RDENetwork(network.image_tower, TextTransformer("hashed", 64, 12, 32, 1, 2, embed=8))
    with pytest.raises(ValueError, match=r"ratio: 0 given, expected a number in \(0, 1\]"):
        TokenSelection(ratio=0)


def test_every_used_parameter_gets_a_gradient(network):
    network.train()
    images, tokens = torch.randn(3, 3, 32, 16), torch.tensor([[62, 5, 6, 7, 63, *[0] * 7]] * 3)
    sum(output.square().sum() for output in network(images, tokens)).backward()
    assert [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
