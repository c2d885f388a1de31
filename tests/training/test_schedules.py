"""Schedules against their formulas and against torch's own."""

import math

import pytest
import torch

from zoo.training import MultiStep, OneCycle, Polynomial, Span, WarmupCosine, WarmupSteps

SPAN = Span(10, 100)


def rates(make, steps, span=SPAN, base=(1.0, 0.5)):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in base]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedule = make(optimizer, span)
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def first(values):
    return [row[0] for row in values]


def test_warmup_cosine():
    seen = first(rates(lambda o, s: WarmupCosine(o, s, warmup="2 epochs", warmup_factor=0.1, final=0.01), 100))
    assert seen[0] == pytest.approx(0.1)
    assert seen[10] == pytest.approx(0.1 + 0.9 * 0.5)
    assert seen[20] == pytest.approx(1.0)
    assert seen[60] == pytest.approx(0.01 + 0.99 * 0.5)
    assert seen[99] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 79 / 80)))


def test_multistep_equals_torch_and_scales_every_group():
    ours = rates(lambda o, s: MultiStep(o, s, milestones=["5 epochs", "80 steps"]), 100)
    theirs = rates(lambda o, s: torch.optim.lr_scheduler.MultiStepLR(o, [50, 80]), 100)
    assert ours == [pytest.approx(row) for row in theirs]


def test_onecycle_equals_torch():
    ours = first(rates(lambda o, s: OneCycle(o, s), 100))
    theirs = first(
        rates(lambda o, s: torch.optim.lr_scheduler.OneCycleLR(o, 1.0, total_steps=101, cycle_momentum=False), 100)
    )
    exact = first(rates(lambda o, s: OneCycle(o, Span(10, 101)), 100))
    assert exact == pytest.approx(theirs)
    assert ours[-1] == pytest.approx(1 / 25 / 1e4)


def test_polynomial_and_steps():
    assert first(rates(lambda o, s: Polynomial(o, s, power=2.0), 100))[50] == pytest.approx(0.25)
    stepped = first(rates(lambda o, s: WarmupSteps(o, s, every="3 epochs", gamma=0.5, warmup="10 steps"), 100))
    assert [stepped[i] for i in (0, 5, 10, 29, 30, 90)] == pytest.approx([0, 0.5, 1, 1, 0.5, 0.125])


def test_state_is_plain_and_resumes():
    def make():
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, WarmupCosine(optimizer, Span(10, 100), warmup="1 epochs")

    optimizer, schedule = make()
    for _ in range(37):
        optimizer.step()
        schedule.step()
    state = schedule.state_dict()
    assert all(isinstance(value, int | float | list) for value in state.values())
    other_optimizer, other = make()
    other.load_state_dict(state)
    optimizer.step()
    other_optimizer.step()
    schedule.step()
    other.step()
    assert other.get_last_lr() == schedule.get_last_lr()


@pytest.mark.parametrize("length", ["5", "epochs", "-1 epochs", "5 weeks", "5epochs"])
def test_a_length_that_is_none_is_refused(length):
    with pytest.raises(ValueError, match="epochs"):
        Span(10, 100).steps(length)


@pytest.mark.parametrize(("length", "steps"), [("5 epochs", 50), ("1 epoch", 10), ("0.5 epochs", 5), ("7 steps", 7)])
def test_lengths(length, steps):
    assert Span(10, 100).steps(length) == steps
