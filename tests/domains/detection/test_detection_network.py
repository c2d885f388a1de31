"""The network: every stage of the released one, its counts and starts, what the switches do, what it refuses."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from zoo.domains.detection import backbones
from zoo.domains.detection.convert import convert
from zoo.domains.detection.decoder import rank_order
from zoo.domains.detection.network import RankDETRNetwork
from zoo.domains.detection.peer import deformable_detr, transformers_twin
from zoo.domains.detection.positions import inverse_sigmoid, sine_boxes, sine_positions
from zoo.errors import InputError


@pytest.fixture(scope="module")
def check():
    """The modules ``fill`` and ``stages`` of the check folder, and ``load(name)``; for tests marked ``facts``."""
    folder = Path(__file__).resolve().parents[4] / "shared" / "facts" / "check"
    sys.path.insert(0, str(folder))
    try:
        import fill
        import stages
    finally:
        sys.path.remove(str(folder))
    return SimpleNamespace(fill=fill, stages=stages, load=lambda name: fill.load(folder / name))


class Convolutions(nn.Module):
    """The backbone of the check files' small configuration."""

    channels = (8, 16, 32)

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 16, 2, 2), nn.Conv2d(16, 32, 2, 2)

    def forward(self, images):
        a = self.a(images)
        b = self.b(a)
        return a, b, self.c(b)


@pytest.fixture
def small():
    """Builds a small network whose parameters are all at work: ``small(seed=0, **arguments)``."""

    def build(seed=0, **arguments):
        torch.manual_seed(seed)
        sizes = {
            "backbone": Convolutions(), "num_classes": 3, "encoder_layers": 1, "decoder_layers": 3, "ffn_dim": 48,
            "queries_one2one": 6, "queries_one2many": 9, "width": 32, "heads": 4,
        }  # fmt: skip
        network = RankDETRNetwork(**{**sizes, **arguments})
        for name, parameter in network.named_parameters():
            if "norm" not in name and not (name.startswith("backbone") and isinstance(arguments.get("backbone"), str)):
                nn.init.normal_(parameter, std=0.3 if parameter.dim() > 1 else 0.1)
        return network

    return build


@pytest.fixture
def scene():
    """Two images padded to 64 x 96, and their sizes."""
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
    sizes = torch.tensor([[64, 96], [48, 70]])
    return images * (torch.arange(96) < sizes[:, 1].view(2, 1, 1, 1)), sizes


def released(check, doc, network):
    """The network with the check file's weights, through the converter."""
    weights = check.fill.make_checkpoint(doc)
    check.fill.check_fill(doc, weights, check.fill.inputs(doc))
    state, _ = convert(weights)
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in state.items()})
    return network


def record(check, network, one2one):
    """Collects what every stage gives, under the check files' names."""
    found = {}
    transformer = network.transformer

    def keep(name):
        return lambda module, inputs, output: found.update({name: check.stages.digest(output)})

    def keep_maps(names):
        def hook(module, inputs, output):
            found.update({name: check.stages.digest(part) for name, part in zip(names, output, strict=True)})

        return hook

    def keep_layer(number):
        def hook(module, inputs, output):
            order = rank_order(network.heads.scores(number, output), one2one)
            found[f"decoder.layer{number}.hidden"] = check.stages.digest(output)
            found[f"order{number}"] = order.tolist()

        return hook

    network.backbone.register_forward_hook(keep_maps([f"backbone.res{number}" for number in (3, 4, 5)]))
    network.neck.register_forward_hook(keep_maps([f"neck.{number}" for number in range(4)]))
    for number, layer in enumerate(transformer.encoder.layers):
        layer.register_forward_hook(keep(f"encoder.layer{number}"))
    transformer.encoder.register_forward_hook(keep("encoder"))
    transformer.proposal_norm.register_forward_hook(keep("encoder.output_memory"))
    for number, layer in enumerate(transformer.decoder.rank_layers, 1):
        layer.register_forward_hook(keep(f"decoder.layer{number}.input_after_rank_layer"))
    for number, layer in enumerate(transformer.decoder.layers):
        layer.register_forward_hook(keep_layer(number))
    return found


def without_departure(check, doc, found, least):
    wrong = {name: bad[:2] for name, bad in check.stages.check(doc, found).items() if bad}
    assert wrong == {}
    assert len([name for name in found if name in doc["expected"]]) >= least


@pytest.mark.facts
def test_every_stage_of_the_small_configuration_in_train_mode(check):
    doc = check.load("stages_rank_detr_tiny.json")
    sizes = doc["config"]
    one, many = sizes["queries_one2one"], sizes["queries_one2many"]
    network = RankDETRNetwork(
        Convolutions(), sizes["classes"], sizes["encoder_layers"], sizes["decoder_layers"], sizes["ffn_dim"], one, many
    )
    released(check, doc, network).train()
    recorded = record(check, network, one)
    scenes = check.fill.inputs(doc)
    images = torch.full((2, 3, 112, 160), 99.0)  # whatever stands in the padding
    images[0, :, :96, :160], images[1, :, :112, :96] = scenes["image_a"], scenes["image_b"]
    output = network.layers(images, torch.tensor([[96, 160], [112, 96]]))
    found = {f"train.{name}": value for name, value in recorded.items() if not name.startswith("order")}
    found["train.encoder_class_logits"] = check.stages.digest(output.encoder_logits)
    found["train.topk_indices"] = output.encoder_logits[..., 0].topk(one + many).indices.tolist()
    for layer in range(sizes["decoder_layers"]):
        order = torch.tensor(recorded[f"order{layer}"])
        found[f"train.decoder.layer{layer}.sort_one2one"] = order[:, :one].tolist()
        found[f"train.decoder.layer{layer}.sort_one2many_minus_{one}"] = (order[:, one:] - one).tolist()
        both = torch.cat([output.boxes[layer], output.many_boxes[layer]], 1)
        found[f"train.decoder.layer{layer}.reference_boxes_sorted"] = check.stages.digest(
            both.gather(1, order.unsqueeze(-1).expand(-1, -1, 4))
        )
        for group, logits, boxes in (
            ("one2one", output.logits, output.boxes),
            ("one2many", output.many_logits, output.many_boxes),
        ):
            found[f"train.{group}.layer{layer}.logits"] = check.stages.digest(logits[layer])
            found[f"train.{group}.layer{layer}.boxes"] = check.stages.digest(boxes[layer])
    without_departure(check, doc, found, least=31)


@pytest.fixture(scope="module")
def r50(check):
    """The full network with the check file's weights; both files have the same."""
    doc = check.load("stages_rank_detr_r50.json")
    with torch.device("meta"):
        network = RankDETRNetwork()
    network.to_empty(device="cpu")
    for module in network.modules():
        if module is network:
            module.mean.copy_(torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1))
            module.std.copy_(torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1))
    return released(check, doc, network).eval()


@pytest.mark.facts
def test_every_stage_of_r50(check, r50):
    doc = check.load("stages_rank_detr_r50.json")
    found = record(check, r50, 300)
    with torch.no_grad():
        output = r50.layers(check.fill.inputs(doc)["image"].unsqueeze(0))
    found["encoder.class_logits"] = check.stages.digest(output.encoder_logits)
    found["topk.token_indices"] = summary(output.encoder_logits[0, :, 0].topk(300).indices.tolist())
    for layer in range(6):
        found[f"decoder.layer{layer}.sort_indices"] = summary(found[f"order{layer}"][0])
        found[f"heads.layer{layer}.logits"] = check.stages.digest(output.logits[layer])
        found[f"heads.layer{layer}.boxes"] = check.stages.digest(output.boxes[layer])
    without_departure(check, doc, found, least=45)


def summary(values):
    """How the check file stores a long list of indices, as far as it does not depend on its spelling."""
    return {"first20": values[:20]}


@pytest.mark.facts
def test_detections_of_r50(check, r50):
    doc = check.load("rank_detr_r50.json")
    with torch.no_grad():
        found = r50(check.fill.inputs(doc)["image"].unsqueeze(0))
    expected = doc["expected"]
    digests = {name: check.stages.digest(tensor) for name, tensor in
               (("pred_logits", found.logits), ("pred_boxes", found.boxes))}  # fmt: skip
    for name, digest in digests.items():
        want = expected[name]
        have = check.fill.digest(digest["tensor"], len(want["values"]))
        assert check.fill.compare(want["values"], have["values"], rtol=1e-3, atol=2e-4) == []
    scores, places = found.logits.sigmoid().flatten().topk(20)
    assert check.fill.compare(expected["top20"]["scores"], scores.tolist(), **tolerance(doc)) == []
    assert (places % 80).tolist() == expected["top20"]["labels"]


def tolerance(doc):
    return {name: doc["tolerance"][name] for name in ("rtol", "atol")}


@pytest.mark.facts
def test_detections_of_the_small_configuration(check):
    doc = check.load("rank_detr_tiny.json")
    network = released(check, doc, RankDETRNetwork(Convolutions(), 5, 1, 3, 64, 6, 12)).eval()
    with torch.no_grad():
        found = network(check.fill.inputs(doc)["image_a"].unsqueeze(0))
    scores, places = found.logits.sigmoid().flatten().topk(6)
    expected = doc["expected"]["eval_image_a"]
    assert check.fill.compare(expected["scores"], scores.tolist(), **tolerance(doc)) == []
    assert (places % 5).tolist() == expected["labels"]


def test_counts_of_the_sheet():
    with torch.device("meta"):
        networks = {name: RankDETRNetwork(name) for name in ("resnet50", "swin_tiny", "swin_large")}
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in networks.items()}
    assert counts == {"resnet50": 52_079_884, "swin_tiny": 52_622_918, "swin_large": 222_213_728}
    r50 = networks["resnet50"]
    assert sum(p.numel() for p in r50.parameters() if p.requires_grad) == 52_070_476

    def count(*parts):
        return sum(p.numel() for part in parts for p in part.parameters())

    transformer, heads = r50.transformer, r50.heads
    assert count(r50.backbone) == 23_454_912
    assert count(r50.neck) == 5_639_168
    assert count(transformer.encoder) == 7_693_056
    assert count(transformer.decoder, heads.classes, heads.boxes) == 13_636_940
    assert count(r50.query_embedding) == 460_800
    assert count(heads.ranks) == 864_000
    assert (count(transformer.proposal), count(transformer.proposal_norm)) == (65_792, 512)
    assert (count(transformer.position), count(transformer.position_norm)) == (262_656, 1_024)


def test_starts_of_the_sheet():
    torch.manual_seed(0)
    network = RankDETRNetwork("resnet18", 5, 1, 3, 64, 30, 60)
    decoder, heads = network.transformer.decoder, network.heads
    for layer in decoder.rank_layers:
        bound = math.sqrt(6 / (90 + 256))
        assert 0.97 * bound < layer.ranks.abs().max() <= bound
        assert layer.before.bias.abs().max() > 0
    assert all(table.abs().max() == 0 for table in heads.ranks)
    assert len(heads.classes) == len(heads.boxes) == 4
    for copies in (heads.classes, heads.boxes):
        for other in copies[1:]:
            assert all(torch.equal(a, b) for a, b in zip(copies[0].parameters(), other.parameters(), strict=True))
    torch.testing.assert_close(heads.classes[0].bias, torch.full((5,), -4.59512))
    assert heads.boxes[0][-1].weight.abs().max() == heads.boxes[0][-1].bias.abs().max() == 0
    assert abs(network.query_embedding.weight.std() - 1) < 0.03
    assert abs(network.transformer.level_embeddings.std() - 1) < 0.1
    assert decoder.layers[0].self_attention.in_proj_bias.abs().max() == 0
    attention = network.transformer.encoder.layers[0].attention
    assert attention.sampling_offsets.weight.abs().max() == 0
    assert attention.attention_weights.weight.abs().max() == attention.attention_weights.bias.abs().max() == 0
    assert attention.value_proj.bias.abs().max() == attention.output_proj.bias.abs().max() == 0
    offsets = attention.sampling_offsets.bias.view(8, 4, 4, 2)
    torch.testing.assert_close(offsets[0, 2], torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]))
    torch.testing.assert_close(offsets[3, 0, 1], torch.tensor([-2.0, 2.0]))
    assert network.neck.extra.conv.bias.abs().max() == 0


def test_figures_of_the_sheet():
    torch.testing.assert_close(
        inverse_sigmoid(torch.tensor([0, 1e-4, 0.5, 1])), torch.tensor([-6.907755, -6.907655, 0, 6.907755])
    )
    found = sine_positions(torch.ones(1, 2, 3, dtype=torch.bool), 4)[0]
    first = torch.tensor([1, 0, 0.0157073, 0.9998766, 0.8660252, 0.5, 0.0104718, 0.9999452])
    last = torch.tensor([-1, 0, 0.0471064, 0.9988899, -0.8660262, 0.4999987, 0.0523359, 0.9986295])
    torch.testing.assert_close(found[0, 0], first, atol=2e-6, rtol=0)
    torch.testing.assert_close(found[1, 2], last, atol=2e-6, rtol=0)
    expected = torch.tensor(
        [0, -1, 0.0314108, 0.9995065, -0.9929264, -0.1187316, 0.0459176, 0.9989452,
         0.9929264, -0.1187318, 0.0168973, 0.9998572, -0.6808878, 0.7323877, 0.0553139, 0.9984690]
    )  # fmt: skip
    boxes = torch.tensor([0.0, 1, -1, 2]).sigmoid()
    torch.testing.assert_close(sine_boxes(boxes, 4), expected, atol=2e-6, rtol=0)


def test_without_its_parts_it_is_deformable_detr_of_transformers():
    """The same weights in an independent implementation."""
    pytest.importorskip("transformers")
    network = deformable_detr(layers=2, queries=50, ffn_dim=64).eval()
    twin = transformers_twin(network).eval()
    images = 255 * torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, other = network(images), twin(pixel_values=(images - network.mean) / network.std)
    torch.testing.assert_close(found.logits, other.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.boxes, other.pred_boxes, rtol=1e-4, atol=1e-5)


def test_forward_gives_the_last_layer(small, scene):
    network = small().eval()
    output, found = network.layers(*scene), network(*scene)
    assert output.logits.shape == (3, 2, 6, 3)
    assert output.boxes.shape == (3, 2, 6, 4)
    assert output.many_logits is output.many_boxes is None
    tokens = 8 * 12 + 4 * 6 + 2 * 3 + 1 * 2
    assert output.encoder_logits.shape == (2, tokens, 3)
    assert output.encoder_boxes.shape == (2, tokens, 4)
    torch.testing.assert_close(found.logits, output.logits[-1])
    torch.testing.assert_close(found.boxes, output.boxes[-1])
    padded = output.encoder_boxes[1].view(tokens, 4)[: 8 * 12].view(8, 12, 4)[6:]
    assert (padded == 1).all()
    trained = network.train().layers(*scene)
    assert trained.many_logits.shape == (3, 2, 9, 3)
    assert trained.many_boxes.shape == (3, 2, 9, 4)


def test_the_two_groups_of_queries_do_not_see_each_other(small, scene):
    network = small().train()
    before = network.layers(*scene)
    with torch.no_grad():
        network.query_embedding.weight[6:] += 1
    after = network.layers(*scene)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.boxes, after.boxes)
    assert (before.many_logits - after.many_logits).abs().max() > 1e-3
    with torch.no_grad():
        network.query_embedding.weight[:6] -= 1
    last = network.layers(*scene)
    assert torch.equal(after.many_logits, last.many_logits)
    assert (after.logits - last.logits).abs().max() > 1e-3


def test_two_attentions_are_the_masked_one(small):
    layer = small().transformer.decoder.layers[0]
    keys, values = torch.randn(2, 2, 15, 32, generator=torch.Generator().manual_seed(0)).unbind(0)
    first = torch.arange(15) < 6
    blocked = first.unsqueeze(0) != first.unsqueeze(1)
    expected = layer.self_attention(keys, keys, values, attn_mask=blocked, need_weights=False)[0]
    torch.testing.assert_close(layer._among(keys, values, 6), expected)


def watch(network):
    """What goes into the decoder layers, and what comes out, filled when the network runs."""
    inputs, hidden = [], []

    def hook(module, given, output):
        inputs.append(given)
        hidden.append(output)

    for layer in network.transformer.decoder.layers:
        layer.register_forward_hook(hook)
    return inputs, hidden


def test_queries_are_sorted_by_the_plain_class_head(small, scene):
    """By hand from layer to layer: hidden states in, the next layer's input out."""
    network = small().eval()
    decoder, heads = network.transformer.decoder, network.heads
    inputs, hidden = watch(network)
    output = network.layers(*scene)
    for number in range(2):
        best = heads.classes[number](hidden[number]).max(-1).values
        order = best.argsort(1, descending=True)
        for image in range(2):
            x = hidden[number][image, order[image]]
            rank = decoder.rank_layers[number]
            ranks = rank.before(rank.ranks[:6])
            torch.testing.assert_close(inputs[number + 1][0][image], rank.after(torch.cat([x, ranks], -1)))
            torch.testing.assert_close(
                inputs[number + 1][1][image], inputs[number][1][image, order[image]], msg="positions"
            )
            references = inputs[number + 1][2][image, :, 0] / torch.cat([ratio(image), ratio(image)])
            torch.testing.assert_close(references, output.boxes[number, image, order[image]])
        expected = heads.classes[number](hidden[number]) + heads.ranks[number][:6]
        torch.testing.assert_close(output.logits[number], expected)


def ratio(image):
    """Valid share of the finest map, 8 x 12 cells: x, y."""
    return torch.tensor([[1.0, 1.0], [9 / 12, 6 / 8]][image])


def test_equal_scores_keep_their_order():
    scores = torch.tensor([[1.0, 3, 1, 3, 2, 2, 5, 2]]).unsqueeze(-1)
    assert rank_order(scores, 5).tolist() == [[1, 3, 4, 0, 2, 6, 5, 7]]


def test_with_both_parts_off_nothing_is_sorted(small, scene):
    network = small(rank_adaptive_head=False, query_rank_layer=False).eval()
    assert not any("rank" in name for name in network.state_dict())
    inputs, hidden = watch(network)
    output = network.layers(*scene)
    assert all(torch.equal(given[0], before) for given, before in zip(inputs[1:], hidden, strict=False))
    torch.testing.assert_close(output.logits[1], network.heads.classes[1](hidden[1]))


def test_the_head_alone_sorts_and_the_layer_alone_has_no_bias(small, scene):
    network = small(query_rank_layer=False).eval()
    inputs, hidden = watch(network)
    network.layers(*scene)
    order = rank_order(network.heads.scores(0, hidden[0]), 6)
    assert order.tolist() != [list(range(6))] * 2
    assert torch.equal(inputs[1][0], hidden[0].gather(1, order.unsqueeze(-1).expand(-1, -1, 32)))
    network = small(rank_adaptive_head=False).eval()
    assert len(network.heads.ranks) == 0
    assert len(network.transformer.decoder.rank_layers) == 2


@pytest.mark.parametrize("twice", [True, False])
def test_look_forward_twice_reaches_the_box_head_before(small, scene, twice):
    network = small(look_forward_twice=twice).train()
    network.layers(*scene).boxes[1].sum().backward()
    reached = network.heads.boxes[0][-1].weight.grad
    assert (reached.abs().max() > 0) == twice
    assert network.heads.boxes[1][-1].weight.grad.abs().max() > 0
    assert network.heads.boxes[2][-1].weight.grad.abs().max() == 0


def test_without_mixed_selection_the_contents_come_from_the_proposals(small, scene):
    mixed, plain = (small(mixed_selection=choice).eval() for choice in (True, False))
    for network, depends in ((mixed, True), (plain, False)):
        before = network(*scene).logits
        with torch.no_grad():
            network.query_embedding.weight.add_(1)
        assert (not torch.equal(before, network(*scene).logits)) == depends


def test_padding_counts_as_nothing_or_as_image(small, scene):
    images, sizes = scene
    masked, official = small().eval(), small(padding_mask_at_eval="official").eval()
    official.load_state_dict(masked.state_dict())
    noise = images.clone()
    noise[1, :, 48:] = 77
    noise[1, :, :, 70:] = 33
    assert torch.equal(masked(images, sizes).logits, masked(noise, sizes).logits)
    assert torch.equal(official(images, sizes).logits, official(noise, sizes).logits)
    one = images[1:, :, :48, :70]
    assert torch.equal(masked(one).logits, official(one).logits)
    assert torch.equal(masked(one, sizes[1:]).logits, masked(one).logits)
    assert torch.equal(masked(images, sizes).logits[0], official(images, sizes).logits[0])
    assert not torch.equal(masked(images, sizes).logits[1], official(images, sizes).logits[1])
    assert torch.equal(masked.train().layers(images, sizes).logits, official.train().layers(images, sizes).logits)


def test_whole_pixels_count_as_floats(small, scene):
    network = small().eval()
    whole = scene[0].round().to(torch.uint8)
    assert torch.equal(network(whole).logits, network(whole.float()).logits)


@pytest.mark.parametrize("backbone", ["resnet50", "swin_tiny", None])
def test_checkpointing_changes_no_gradient(small, scene, backbone):
    images = scene[0][:1, :, :64, :64]
    options = {"backbone": backbone} if backbone else {}
    if backbone == "swin_tiny":
        options["drop_path"] = 0.5
    network = small(activation_checkpointing=True, **options).train()
    runs, results = [], []
    for layer in (network.transformer.encoder.layers[0], network.transformer.decoder.layers[0]):
        layer.norm1.register_forward_hook(lambda module, given, output: runs.append(module))
    for checkpointing in (True, False):
        for part in network.modules():
            if hasattr(part, "activation_checkpointing"):
                part.activation_checkpointing = checkpointing
        torch.manual_seed(1)
        network.zero_grad()
        output = network.layers(images)
        (output.logits.sum() + output.boxes.sum() + output.encoder_boxes.sum()).backward()
        results.append({name: p.grad for name, p in network.named_parameters() if p.grad is not None})
    assert len(runs) == 4 + 2  # each layer twice with checkpoints, once without
    again, plain = results
    assert plain.keys() == again.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(again[name], gradient, msg=name)


def test_more_queries_than_tokens_is_one_error():
    network = RankDETRNetwork("resnet18", 3, 0, 1, 16, 100, 200, width=16, heads=2)
    with pytest.raises(InputError) as caught:
        network.train()(torch.zeros(1, 3, 64, 96))
    assert str(caught.value) == (
        "images of 64x96 give 128 tokens, too few for 300 queries (100 one2one + 200 one2many); "
        "the smallest square image that works is 113x113, or take fewer queries"
    )
    network(torch.zeros(1, 3, 113, 113))
    with pytest.raises(InputError, match=r"images of 112x112 give 265 tokens"):
        network(torch.zeros(1, 3, 112, 112))
    with pytest.raises(InputError, match=r"too few for 100 queries; the smallest square image that works is 65x65"):
        network.eval()(torch.zeros(1, 3, 32, 32))


def test_what_cannot_be_sized_gives_no_advice(small):
    class Stubborn(Convolutions):
        def forward(self, images):
            return super().forward(images + float(images.sum()) * 0)

    with pytest.raises(
        InputError, match=r"^images of 64x32 give 43 tokens, too few for 60 queries; take fewer queries$"
    ):
        small(backbone=Stubborn(), queries_one2one=60).eval()(torch.zeros(1, 3, 64, 32))


def test_a_module_of_your_own(small, scene):
    class Named(Convolutions):
        def forward(self, images):
            return dict(zip("abc", super().forward(images), strict=True))

    plain, named = small().eval(), small(backbone=Named()).eval()
    assert torch.equal(plain(*scene).logits, named(*scene).logits)

    class Two(Convolutions):
        def forward(self, images):
            return super().forward(images)[:2]

    with pytest.raises(InputError, match=r"Two says its maps have 8, 16, 32 channels, but gave \(2, 8, 8, 12\), \(2"):
        small(backbone=Two())(*scene)
    with pytest.raises(InputError, match=r"Conv2d needs the attribute channels, the channels of its three maps"):
        small(backbone=nn.Conv2d(3, 3, 1))


def test_any_network_of_timm_with_three_maps(small, scene, monkeypatch):
    images = scene[0][:1, :, :64, :64]
    for name, channels in (("resnet18", (128, 256, 512)), ("swin_tiny_patch4_window7_224", (192, 384, 768))):
        network = RankDETRNetwork(name, 3, 0, 1, 16, 5, 0, width=16, heads=2).eval()
        assert tuple(network.backbone.channels) == channels
        shapes = [tuple(part.shape) for part in network.backbone(images)]
        assert shapes == [(1, count, side, side) for count, side in zip(channels, (8, 4, 2), strict=True)]
        assert network(images).logits.shape == (1, 5, 3)
    with pytest.raises(InputError, match="timm has no model 'resnet5'; did you mean 'resnet50'"):
        small(backbone="resnet5")
    with pytest.raises(InputError, match=r"'vit_tiny_patch16_224' has maps of strides 16, .* none of 8, 32; detection"):
        small(backbone="vit_tiny_patch16_224")
    with pytest.raises(InputError, match="'hiera_tiny_224' takes images of one size only"):
        small(backbone="hiera_tiny_224")
    monkeypatch.setattr(backbones, "STRIDES", (8, 16, 64))
    told = "'resnet18' has maps of strides 2, 4, 8, 16, 32, none of 64; detection needs 8, 16, 64"
    with pytest.raises(InputError, match=told):
        small(backbone="resnet18")


@pytest.mark.parametrize(
    ("name", "multiple"), [("hrnet_w18_small", 32), ("swin_tiny_patch4_window7_224", 4), ("twins_pcpvt_small", 1)]
)
def test_networks_that_take_multiples_get_them(scene, name, multiple):
    """HRNet adds maps of several strides up and so stops at other sizes; Swin cuts whole patches."""
    network = RankDETRNetwork(name, 3, 0, 1, 16, 5, 0, width=16, heads=2).eval()
    assert network.backbone.multiple == multiple
    images = scene[0][:1, :, :61, :70]
    padding = (0, -70 % multiple, 0, -61 % multiple)
    maps, padded = network.backbone(images), network.backbone(torch.nn.functional.pad(images, padding))
    if multiple > 1:  # Twins leaves out what fills no patch, as ConvNeXt does
        assert [tuple(part.shape[2:]) for part in maps] == [(8, 9), (4, 5), (2, 3)]
    for part, whole in zip(maps, padded, strict=True):
        assert torch.equal(part, whole[:, :, : part.shape[2], : part.shape[3]])
    assert network(images).logits.shape == (1, 5, 3)


def test_sizes_may_be_lists_and_must_fit(small, scene):
    network, (images, sizes) = small().eval(), scene
    assert torch.equal(network(images, sizes.tolist()).boxes, network(images, sizes).boxes)
    with pytest.raises(InputError, match=r"sizes must be \(B, 2\), a height and a width per image, got \(1, 2\)"):
        network(images, sizes[:1])


def test_pixels_are_normalised_as_the_backbone_was_trained(small):
    """timm's own constants for its networks, the sheet's for all others."""
    network = RankDETRNetwork("tf_efficientnet_lite0", 3, 0, 1, 16, 5, 0, width=16, heads=2)
    assert network.mean.flatten().tolist() == network.std.flatten().tolist() == [127.5] * 3
    assert small().mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert not any(name in small().state_dict() for name in ("mean", "std"))


def test_a_frozen_backbone_is_left_alone(scene):
    network = RankDETRNetwork(
        "resnet18", 3, 0, 1, 16, 5, 0, width=16, heads=2, freeze_backbone=True, backbone_norm="batch"
    ).train()
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    network.layers(*scene).logits.sum().backward()
    assert not network.backbone.training
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.backbone.state_dict().items())
    assert network.neck.convs[0].conv.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("norm", "kept"), [("frozen", True), ("batch", False)])
def test_norms_of_timm_are_frozen_or_trained(scene, norm, kept):
    network = RankDETRNetwork("resnet18", 3, 0, 1, 16, 5, 0, width=16, heads=2, backbone_norm=norm).train()
    before = {name: tensor.clone() for name, tensor in network.backbone.named_buffers()}
    network.layers(*scene).logits.sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in network.backbone.named_buffers()) == kept
    norms = [part for part in network.backbone.modules() if isinstance(part, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert all((part.weight.grad is None) == kept for part in norms)
    assert network.backbone.model.conv1.weight.grad.abs().max() > 0


def test_half_precision_keeps_scores_and_boxes_whole(small, scene):
    network = small().eval()
    expected = network(*scene)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mixed = network(*scene)
    assert mixed.logits.dtype == mixed.boxes.dtype == torch.float32
    assert mixed.logits.shape == expected.logits.shape
    assert mixed.boxes.isfinite().all()
    assert network.double()(scene[0].double(), scene[1]).boxes.dtype == torch.float64


def test_wrong_numbers_and_words_are_told(small):
    with pytest.raises(ValueError, match="decoder_layers must be at least 1, got 0"):
        small(decoder_layers=0)
    with pytest.raises(ValueError, match=r"width must be divisible by 4 and by heads \(4\), got 30"):
        small(width=30)
    with pytest.raises(ValueError, match="padding_mask_at_eval: 'none' given, expected one of masked, official"):
        small(padding_mask_at_eval="none")
    with pytest.raises(InputError, match=r"images must be \(B, 3, H, W\), got \(3, 64, 64\)"):
        small()(torch.zeros(3, 64, 64))
    with pytest.raises(InputError, match="resnet50 has no stochastic depth"):
        small(backbone="resnet50", drop_path=0.1)
