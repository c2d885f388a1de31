"""Pair plans: fixed pairs, files of pairs, fresh partners each epoch, scene-balanced batches."""

from collections import Counter

import numpy as np
import pytest

from zoo.domains.quality.pairs import PairOrder, SceneOrder, Scored, fixed_pairs, read_pairs
from zoo.errors import InputError
from zoo.training import DataError

SCENES = [f"s{number % 7}" for number in range(60)] + ["alone"]
KNOWN = {
    "1_Indoor_Scene_0": Scored("Overall/1_Indoor_Scene_0.jpg", "Indoor_Scene_0", 1.25),
    "2_Indoor_Scene_0": Scored("Overall/2_Indoor_Scene_0.JPG", "Indoor_Scene_0", -0.5),
    "3_Indoor_Scene_1": Scored("Overall/3_Indoor_Scene_1.jpg", "Indoor_Scene_1", 0.0),
}


def test_fixed_pairs_are_made_as_the_released_file_was():
    pairs = fixed_pairs(SCENES, seed=3)
    assert Counter(pairs[:, 0].tolist()) == dict.fromkeys(range(60), 2)  # the one that is alone pairs with none
    assert all(SCENES[one] == SCENES[two] for one, two in pairs)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert np.array_equal(pairs, fixed_pairs(SCENES, seed=3))
    assert not np.array_equal(pairs, fixed_pairs(SCENES, seed=4))


def test_every_partner_is_equally_likely():
    scenes = ["a"] * 5
    drawn = np.concatenate([fixed_pairs(scenes, seed, 1) for seed in range(2000)])
    counts = Counter(map(tuple, drawn.tolist()))
    assert len(counts) == 20
    assert all(abs(count - 500) < 120 for count in counts.values())  # 6 standard deviations


def written(
    tmp_path, *rows, header="IMAGE PATH,JOD,IMAGE,SCENE,IMAGE PATH second,JOD second,IMAGE second,SCENE second"
):
    file = tmp_path / "exp.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def row(one, two, first=1.25, second=-0.5):
    return ",".join(
        str(value)
        for name, jod in ((one, first), (two, second))
        for value in (f"Overall\\{name}.jpg", jod, f"{name}.jpg", name.partition("_")[2])
    )


def test_released_columns_and_plain_columns(tmp_path):
    file = written(tmp_path, row("1_Indoor_Scene_0", "2_Indoor_Scene_0"))
    assert read_pairs(file, KNOWN) == [("1_Indoor_Scene_0", "2_Indoor_Scene_0")]
    plain = written(tmp_path, "Overall/1_Indoor_Scene_0.jpg,2_Indoor_Scene_0", header="first,second")
    assert read_pairs(plain, KNOWN) == [("1_Indoor_Scene_0", "2_Indoor_Scene_0")]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (
            [row("1_Indoor_Scene_0", "2_Indoor_Scene_0", first=0.75)],
            None,
            "{file}:2: JOD of 1_Indoor_Scene_0 is 0.75, in Scores_Overall.csv it is 1.25; "
            "are these pairs of another attribute?",
        ),
        (
            [row("1_Indoor_Scene_0", "2_Indoor_Scene_0"), row("1_Indoor_Scene_0", "4_Indoor_Scene_0")],
            None,
            "{file}:3: there is no image '4_Indoor_Scene_0' in the data set; did you mean '2_Indoor_Scene_0'?",
        ),
        (
            ["1_Indoor_Scene_0.jpg,3_Indoor_Scene_1.jpg"],
            "first,second",
            "{file}:2: 1_Indoor_Scene_0 is of scene Indoor_Scene_0, 3_Indoor_Scene_1 of Indoor_Scene_1; "
            "only images of one scene can be compared",
        ),
        (["a,b"], "one,second", "{file}:1: has no column 'first', only one, second"),
        (
            ["1_Indoor_Scene_0.jpg,"],
            "first,second",
            "{file}:2: second is empty",
        ),
    ],
)
def test_bad_pair_files(tmp_path, rows, header, message):
    file = written(tmp_path, *rows, **({"header": header} if header else {}))
    with pytest.raises(DataError) as error:
        read_pairs(file, KNOWN, "Scores_Overall.csv")
    assert str(error.value) == message.format(file=file)


def places(batch, size=61):
    return [position % size for _, position in batch]


@pytest.mark.parametrize("fixed", [True, False])
def test_pair_batches_hold_the_first_images_then_the_second(fixed):
    pairs = fixed_pairs(SCENES, 0) if fixed else None
    order = PairOrder(SCENES, 6, seed=1, pairs=pairs)
    seen = []
    for batch in order:
        half = len(batch) // 2
        found = places(batch)
        seen += list(zip(found[:half], found[half:], strict=True))
    assert len(seen) == 120
    assert len(order) == 20
    assert all(SCENES[one] == SCENES[two] and one != two for one, two in seen)
    assert Counter(one for one, _ in seen) == dict.fromkeys(range(60), 2)
    assert not fixed or sorted(seen) == sorted(map(tuple, pairs.tolist()))


def test_fixed_pairs_stay_and_drawn_pairs_change():
    def pairs_of(order, epoch):
        order.resume(epoch, 0)
        half = [len(batch) // 2 for batch in order]
        return {
            pair
            for batch, cut in zip(order, half, strict=True)
            for pair in zip(places(batch)[:cut], places(batch)[cut:], strict=True)
        }

    fixed = PairOrder(SCENES, 6, seed=1, pairs=fixed_pairs(SCENES, 0))
    drawn = PairOrder(SCENES, 6, seed=1)
    assert pairs_of(fixed, 0) == pairs_of(fixed, 1)
    assert pairs_of(drawn, 0) != pairs_of(drawn, 1)
    assert pairs_of(drawn, 0) == pairs_of(PairOrder(SCENES, 6, seed=1), 0)


@pytest.mark.parametrize("order", [PairOrder, SceneOrder])
def test_order_is_a_function_of_seed_and_epoch_and_resumes(order):
    options = {"steps": 9} if order is PairOrder else {"steps": 9, "per_batch": 2}

    def batches(seed, epoch, start=0):
        made = order(SCENES[:60], 6, seed, **options)
        made.resume(epoch, start)
        return list(made)

    assert len(batches(0, 0)) == 9
    assert batches(0, 2) == batches(0, 2)
    assert batches(0, 2) != batches(0, 3)
    assert batches(0, 2) != batches(1, 2)
    assert batches(0, 2, start=4) == batches(0, 2)[4:]


def test_an_image_that_comes_again_is_another_occurrence():
    # the same key would give it the same random crop each time
    for order in (PairOrder(SCENES, 6, 0, steps=60), SceneOrder(SCENES[:60], 12, 0, per_batch=3, steps=40)):
        keys = [key for batch in order for key in batch]
        assert len(set(keys)) == len(keys) > order.size


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_each_batch_of_pairs(world):
    whole = PairOrder(SCENES, 4 * world, seed=5)
    shares = [list(PairOrder(SCENES, 4, 5, rank, world)) for rank in range(world)]
    assert {len(share) for share in shares} == {len(shares[0])}
    for step, batch in enumerate(whole):
        half = len(batch) // 2
        expected = sorted(zip(batch[:half], batch[half:], strict=True))
        found = []
        for share in shares:
            cut = len(share[step]) // 2
            found += zip(share[step][:cut], share[step][cut:], strict=True)
        assert sorted(found) == expected


def test_a_rest_without_a_pair_for_every_process_joins_the_batch_before():
    # 14 pairs of one scene of 7 images: batches of 13 * 1 leave 1, those of 4 * 3 leave 2 for 3 processes
    assert [len(batch) // 2 for batch in PairOrder(["a"] * 7, 13, 0)] == [13, 1]
    shares = [[len(batch) // 2 for batch in PairOrder(["a"] * 7, 4, 0, rank, 3)] for rank in range(3)]
    assert shares == [[5], [5], [4]]


def test_scene_batches_are_balanced():
    sizes = {"a": 40, "b": 12, "c": 7, "d": 25, "e": 3}
    scenes = [scene for scene, size in sizes.items() for _ in range(size)]
    order = SceneOrder(scenes, 12, seed=0, per_batch=3, steps=50)
    visits, images = Counter(), Counter()
    for batch in order:
        found = places(batch, len(scenes))
        counts = Counter(scenes[place] for place in found)
        assert len(counts) == 3
        assert all(count == min(4, sizes[scene]) for scene, count in counts.items())
        assert len(set(found)) == len(found)  # no image twice in a batch
        visits.update(counts.keys())
        images.update(found)
    assert max(visits.values()) - min(visits.values()) <= 1
    for scene in sizes:
        seen = [images[place] for place, name in enumerate(scenes) if name == scene]
        assert max(seen) - min(seen) <= 1


def test_an_epoch_takes_in_as_many_images_as_there_are():
    scenes = ["a"] * 30 + ["b"] * 30
    assert len(SceneOrder(scenes, 8, 0, per_batch=2)) == 8
    assert len(SceneOrder(scenes, 8, 0, world_size=2)) == 4


@pytest.mark.parametrize(
    ("batch", "per_batch", "message"),
    [
        (
            4,
            4,
            "data.batch_size 4 with data.scenes_per_batch 4 leaves 1 image per scene; nothing could be compared, "
            "at least 2 are needed",
        ),
        (
            64,
            9,
            "data.scenes_per_batch 9 on 1 processes needs 9 scenes in a batch, the training images are of 8",
        ),
    ],
)
def test_impossible_scene_batches(batch, per_batch, message):
    with pytest.raises(InputError) as error:
        SceneOrder(SCENES, batch, 0, per_batch=per_batch)
    assert str(error.value) == message
