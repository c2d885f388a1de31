"""The numeric checks of the fact sheets that the core alone must reach, by short compositions of its functions."""

import json
from pathlib import Path

import pytest
import torch

from zoo.ranking import confidence_ndcg, fidelity, hinge, info_nce, sdm, set_wise, triplet, triplet_alignment

CHECK = Path(__file__).parents[3] / "shared" / "facts" / "check"
SHEET = {"rtol": 2e-6, "atol": 2e-8}  # float32 against eight printed digits


def facts(name):
    path = CHECK / name
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return json.loads(path.read_text())


class TestReID:
    similarity = torch.tensor([[0.50, 0.45, 0.30], [0.48, 0.52, 0.20], [0.35, 0.50, 0.55]])

    def two_way(self, loss, ids, **options):
        positive = torch.tensor(ids).unsqueeze(1) == torch.tensor(ids)
        one = loss(self.similarity, positive, reduction="none", **options)
        return one + loss(self.similarity.T, positive.T, reduction="none", **options)

    @pytest.mark.parametrize(
        ("ids", "options", "wanted"),
        [
            ([0, 1, 2], {}, [0.1300032288, 0.1405258626, 0.0500007048]),
            ([0, 0, 1], {}, [0.0, 0.0806520954, 0.0500007048]),
            ([0, 1, 2], {"temperature": 0.1, "margin": 0.2}, [0.3742421865, 0.3933110535, 0.1701412946]),
        ],
    )
    def test_triplet_alignment(self, ids, options, wanted):
        got = self.two_way(triplet_alignment, ids, **options)
        torch.testing.assert_close(got, torch.tensor(wanted), rtol=2e-6, atol=1e-7)

    def test_hardest_triplet(self):
        got = self.two_way(triplet, [0, 1, 2], margin=0.1)
        torch.testing.assert_close(got, torch.tensor([0.13, 0.14, 0.05]), rtol=1e-5, atol=1e-7)

    def test_sdm(self):
        got = self.two_way(sdm, [0, 0, 1])
        torch.testing.assert_close(got, torch.tensor([0.5396844, 5.0118237, 1.1291031]), **SHEET)

    def test_info_nce(self):
        got = self.two_way(info_nce, [0, 1, 2]) / 2
        torch.testing.assert_close(got, torch.tensor([0.1962989, 0.2310129, 0.0394677]), rtol=2e-6, atol=1e-7)

    def test_label_weights_sum_as_published(self):
        positive, clean = torch.eye(3, dtype=torch.bool), torch.tensor([1, 0, 1])
        total = triplet_alignment(self.similarity, positive, weight=clean, reduction="sum") + triplet_alignment(
            self.similarity.T, positive, weight=clean, reduction="sum"
        )
        assert total.item() == pytest.approx(0.1300032288 + 0.0500007048, rel=1e-5)


class TestOutfit:
    queries = torch.tensor([[0.0, 0], [3, 0], [0, 5]])
    answers = torch.tensor([[1.0, 0], [3, 1], [0, 9]])
    negatives = torch.tensor([[[2.0, 0], [0, 4]], [[3, 3], [7, 0]], [[0, 6], [1, 1]]])

    def test_hardest_in_batch(self):
        got = triplet(-torch.cdist(self.queries, self.answers), torch.eye(3, dtype=torch.bool), margin=2.0)
        assert got.item() == pytest.approx(0.6666667)

    def test_set_wise(self):
        gallery = torch.cat([self.answers.unsqueeze(1), self.negatives], 1)
        similarity = -(self.queries.unsqueeze(1) - gallery).norm(dim=-1)
        positive = torch.tensor([True, False, False]).expand(3, 3)
        over_all = triplet(similarity, positive, margin=2.0, mining="all", reduction="none")
        torch.testing.assert_close(over_all, torch.tensor([0.5, 0.0, 3.438447]), **SHEET)
        hard = triplet(similarity, positive, margin=2.0, reduction="none")
        torch.testing.assert_close(hard, torch.tensor([1.0, 0.0, 5.0]), **SHEET)
        assert set_wise(similarity, positive).item() == pytest.approx(3.3128157)


class TestQuality:
    scores = ([0.3, 1.2, -0.7, 2.0], [0.1, 1.5, -0.7, -1.0])
    labels = ([1.0, 0.2, -3.9, 4.0], [0.0, 0.9, -3.9, -6.0])

    def test_fidelity_of_four_pairs(self):
        first, second = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in self.scores)
        scores, labels = torch.stack([first, second], -1), torch.tensor(self.labels, dtype=torch.float64).T
        values = fidelity(scores, labels, reduction="none")
        wanted = torch.tensor([0.04352492, 0.01154447, 0.0, 0.00057518], dtype=torch.float64)
        torch.testing.assert_close(values, wanted, rtol=0, atol=3e-8)
        mean = fidelity(scores, labels, tied_lists="keep")
        assert mean.item() == pytest.approx(0.01391114, abs=5e-9)
        mean.backward()
        wanted = torch.tensor([-0.02889328, 0.01486542, 0.0, -0.00055436], dtype=torch.float64)
        torch.testing.assert_close(first.grad, wanted, rtol=0, atol=5e-9)
        torch.testing.assert_close(second.grad, -wanted, rtol=0, atol=5e-9)

    def test_without_keeping_ties_the_mean_is_over_the_three_pairs_that_differ(self):
        scores, labels = torch.tensor(self.scores).T, torch.tensor(self.labels).T
        assert fidelity(scores, labels).item() == pytest.approx(0.01391114 * 4 / 3, rel=1e-4)

    def test_saturated_pairs(self):
        scores = torch.tensor([[8.0, 0.0], [9.0, 0.0]], dtype=torch.float64, requires_grad=True)
        values = fidelity(scores, torch.tensor([[9.0, 0.0], [-9.0, 0.0]]), reduction="none")
        assert values.tolist() == pytest.approx([-0.00010002, 0.99980003], abs=6e-8)  # printed from float32
        values[1].backward()
        assert scores.grad[1, 0].item() == pytest.approx(5.1e-15, rel=0.01)


class TestAnomaly:
    def test_all_pairs_of_bags_and_the_diagonal(self):
        anomalous = torch.tensor([[0.2, 0.9, 0.4, 0.1], [0.3, 0.3, 0.8, 0.6]]).amax(-1)
        normal = torch.tensor([[0.1, 0.2, 0.05, 0.4], [0.5, 0.7, 0.6, 0.2]]).amax(-1)
        official = hinge(torch.cat([anomalous, normal]), torch.tensor([1, 1, 0, 0]), pairs="sum") / len(normal)
        assert official.item() == pytest.approx(1.4)
        diagonal = hinge(torch.stack([anomalous, normal], -1), torch.tensor([[1, 0], [1, 0]]))
        assert diagonal.item() == pytest.approx(0.7)

    @pytest.mark.facts
    def test_hinge_of_the_check_file(self):
        stored = facts("anomaly.json")["objective"]
        top = torch.tensor(stored["scores_60x32"], dtype=torch.float64).amax(-1)
        got = hinge(top, torch.arange(60) < 30, pairs="sum") / 30
        assert got.item() == pytest.approx(stored["official"]["hinge"], rel=1e-7)


def mixup_lists(raw, mixed, strength):
    """Confidences (B, 1 + K), the raw image's first, and their targets, from copy-major mixes."""
    confidence = [logits.softmax(-1).amax(-1) for logits in (raw, *mixed)]
    return torch.stack(confidence, -1), torch.stack([torch.ones_like(strength[0]), *strength], -1)


class TestCalibration:
    raw = torch.tensor([[2, 0.5, -1], [0.2, 1.2, 0.1], [-0.3, 0.4, 3], [1, 0.9, 0.8]], dtype=torch.float64)
    mix = torch.tensor([[1.5, 0.7, -0.2], [0.3, 2.5, 0], [0.1, 0.2, 0.9], [4, 0, 0]], dtype=torch.float64)
    strength = torch.tensor([[0.7, 1, 0.7, 0.7], [0.65, 0.65, 0.65, 1], [0.9, 0.9, 0.9, 0.9]], dtype=torch.float64)

    def test_three_mixes(self):
        raw, mix = self.raw.clone().requires_grad_(), self.mix.clone().requires_grad_()
        lists = mixup_lists(raw, [mix, mix * 0.5 + 0.1, mix.flip(0) * 0.8], self.strength)
        wanted = torch.tensor([0.85570282, 0.68665493, 0.82849157, 0.65456277], dtype=torch.float64)
        torch.testing.assert_close(1 - confidence_ndcg(*lists, reduction="none"), wanted, rtol=1e-7, atol=0)
        value = confidence_ndcg(*lists)
        assert value.item() == pytest.approx(0.24364698, rel=1e-7)
        value.backward()
        rows = torch.tensor([[-0.0191596, 0.0156644, 0.0034952], [-0.0243824, 0.0128003, 0.0115822]])
        torch.testing.assert_close(raw.grad[[0, 3]].float(), rows, rtol=0, atol=1e-7)
        assert mix.grad.abs().sum().item() > 0

    def test_one_mix_with_a_same_class_pair(self):
        lists = mixup_lists(self.raw, [self.mix], self.strength[:1])
        wanted = torch.tensor([0.81309098, 0.68481505, 0.84916276, 0.67686296], dtype=torch.float64)
        kept = confidence_ndcg(*lists, tied_lists="keep", reduction="none")
        torch.testing.assert_close(1 - kept, wanted, rtol=1e-6, atol=0)
        assert confidence_ndcg(*lists, tied_lists="keep").item() == pytest.approx(0.24401706, rel=1e-6)
        skipped = confidence_ndcg(*lists, reduction="none")
        torch.testing.assert_close(skipped[[0, 2, 3]], kept[[0, 2, 3]])
        assert skipped[1] == 0

    def test_mrl_over_the_pairs_of_different_classes(self):
        top = torch.stack([self.raw.amax(-1), self.mix.amax(-1)], -1)
        different = torch.tensor([[True, True], [True, False], [True, True], [True, True]])
        value = hinge(top, torch.tensor([1, 0]).expand(4, 2), mask=different, margin=2.0, reduction="sum") / 4
        assert value.item() == pytest.approx(1.625)

    @pytest.mark.facts
    @pytest.mark.parametrize("copies", [1, 3])
    def test_m_ndcg_of_the_check_file(self, copies):
        stored = facts("rankmixup_losses_metrics.json")
        inputs, expected = stored["loss_inputs"], stored["expected_losses"][f"mndcg_k{copies}"]
        raw, mixed, targets = (
            torch.tensor(inputs[name], dtype=torch.float64)
            for name in ("raw_logits", "mixed_logits_copy_major", "mixed_targets")
        )
        raw.requires_grad_()
        mixed = mixed.reshape(3, 6, 5)[:copies].clone().requires_grad_()
        lists = mixup_lists(raw, mixed, targets.amax(-1).reshape(3, 6)[:copies])
        ratio = 1 - confidence_ndcg(*lists, tied_lists="keep", reduction="none")
        torch.testing.assert_close(
            ratio, torch.tensor(expected["per_sample_ratio"], dtype=torch.float64), rtol=1e-6, atol=1e-8
        )
        rank = confidence_ndcg(*lists, tied_lists="keep")
        assert rank.item() == pytest.approx(expected["rank"], rel=1e-6)
        entropy = torch.nn.functional.cross_entropy(raw, torch.tensor(inputs["labels"]))
        total = entropy + inputs["alpha"] * rank
        assert total.item() == pytest.approx(expected["total"], rel=1e-6)
        total.backward()
        for gradient, name in ((raw.grad, "grad_raw"), (mixed.grad, "grad_mix")):
            flat = gradient.flatten()
            assert flat.abs().sum().item() == pytest.approx(expected[name]["abs_sum"], rel=1e-6)
            weighted = (flat * torch.arange(1, len(flat) + 1)).sum().item()
            assert weighted == pytest.approx(expected[name]["weighted"], rel=1e-6)
