"""What helps a structure is taken only if it helps patients that did not choose it."""

import numpy as np
import pytest

from tomoseg.workflows.choosing import GROUPS, Sample, Scores, choose, choose_together


def sample(patient, sure, unsure, wrong):
    """A row of voxels: `sure` of the reference at 230 of 255, `unsure` of it at 110, `wrong` ones outside of it at 110.

    A threshold of 0.4 finds the last two as well, one of 0.5 the first alone.
    """
    probability = np.repeat(np.array([230, 110, 110, 0], np.uint8), (sure, unsure, wrong, 5))
    reference = np.repeat(np.array([True, True, False, False]), (sure, unsure, wrong, 5))
    return Sample(probability[:, None, None], reference[:, None, None], None, (1.0, 1.0, 1.0), patient)


def test_what_helps_all_is_taken():
    found = choose(Scores("liver", [sample(f"p{k}", 10, 5, 0) for k in range(6)]))
    assert found.threshold == 0.4  # of those that are as good, the nearest to 0.5
    assert found.before == pytest.approx(2 * 10 / 25)
    assert found.after == found.on_others == 1.0
    assert found.refused == ""


def test_what_one_patient_chose_for_all_is_not_taken():
    """In the mean of all a threshold of 0.4 gains; without the one that it helps the others lose by it."""
    samples = [*(sample(f"p{k}", 20, 0, 2) for k in range(4)), sample("odd", 1, 9, 0)]
    scores = Scores("liver", samples)
    plain, low = scores.of(0.5), scores.of(0.4)
    assert plain == pytest.approx([1, 1, 1, 1, 2 / 11])
    assert low == pytest.approx([40 / 42] * 4 + [1])
    found = choose(scores)
    assert (found.threshold, found.steps) == (0.5, ())
    assert found.before == found.after == found.on_others == pytest.approx(plain.mean())
    # the odd one's others choose 0.5, the others' others 0.4 or 0.3, which is the same here
    on_others = (4 * 40 / 42 + 2 / 11) / 5
    assert found.refused.startswith("threshold 0.")
    assert found.refused.endswith(f": {on_others - plain.mean():+.4f}")


def test_where_nothing_helps_nothing_is_chosen_or_refused():
    found = choose(Scores("liver", [sample(f"p{k}", 10, 0, 4) for k in range(5)]))
    assert (found.threshold, found.steps, found.refused) == (0.5, (), "")
    assert found.before == found.after == found.on_others == 1


def test_all_cases_of_a_patient_are_in_one_group():
    samples = [sample(f"p{k % 7}", 4, 0, 0) for k in range(12)]
    groups = Scores("liver", samples).groups()
    assert len(groups) == GROUPS
    assert np.array_equal(np.sum(groups, axis=0), np.ones(12))
    for group in groups:
        inside = {one.patient for one, here in zip(samples, group, strict=True) if here}
        assert inside.isdisjoint(one.patient for one, here in zip(samples, group, strict=True) if not here)


def test_structures_of_few_patients_share_the_threshold_that_helps_them_on_the_whole():
    """The aorta would lose by it, and alone choose none."""
    liver = Scores("liver", [sample(f"p{k}", 10, 10, 0) for k in range(2)])
    aorta = Scores("aorta", [sample("p0", 20, 0, 2)])
    found = choose_together([liver, aorta])
    assert [(one.structure, one.threshold, one.steps, one.cases) for one in found] == [
        ("liver", found[0].threshold, (), 2),
        ("aorta", found[0].threshold, (), 1),
    ]
    assert found[0].threshold < 110 / 255
    assert found[0].before == pytest.approx(2 * 10 / 30)
    assert found[1].before == found[0].after == found[0].on_others == 1
    assert found[1].after == found[1].on_others == pytest.approx(40 / 42)
    assert choose(aorta).threshold == 0.5


def test_a_shared_threshold_that_one_patient_chose_for_all_is_not_taken():
    """By two of the three patients it loses; the third gains so much that it would win in the mean of all."""
    liver = Scores("liver", [sample("p0", 20, 0, 4), sample("p1", 20, 0, 4), sample("odd", 1, 9, 0)])
    (found,) = choose_together([liver])
    plain, low = liver.of(0.5), liver.of(0.3)
    assert low.mean() > plain.mean() + 0.2
    assert low[:2] == pytest.approx([40 / 44] * 2)
    # the odd one's others choose 0.5; the others' others a lower one, by which these lose
    assert found.threshold == 0.5
    assert found.before == found.after == found.on_others == pytest.approx(plain.mean())


def test_no_structures_share_nothing():
    assert choose_together([]) == []
