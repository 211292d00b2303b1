"""The vectorised scores equal the challenge's rules written out mark by mark."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from luna.run.nodules import UNSIZED_DIAMETER_MM
from luna.score.froc import FP_RATES, froc, froc_items
from luna.score.matching import MAX_MARKS_PER_SCAN

SCANS = 3

places = st.tuples(st.integers(0, SCANS - 1), st.integers(-40, 40))
scores = st.integers(0, 6).map(lambda k: k / 8)
marks_of = st.lists(st.tuples(places, scores), max_size=40, unique_by=lambda each: each[0])
nodules_of = st.lists(
    st.tuples(places, st.sampled_from([3.0, 6.5, 12.0])),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each[0],
)
excluded_of = st.lists(st.tuples(places, st.sampled_from([-1.0, 4.0, 15.0])), max_size=6)


def slow_score(marks, nodules, excluded):
    """Counts and sensitivities by loops over marks, nodules and thresholds."""
    hits, false, ignored, double, kept_marks = [], [], 0, 0, 0
    for scan in range(SCANS):
        here = [(x, p) for (s, x), p in marks if s == scan]
        if len(here) > MAX_MARKS_PER_SCAN:
            limit = sorted((p for _, p in here), reverse=True)[MAX_MARKS_PER_SCAN]
            here = [(x, p) for x, p in here if p > limit]
        kept_marks += len(here)
        rest = list(here)
        for (s, x), diameter in nodules:
            if s != scan:
                continue
            matches = [mark for mark in here if abs(mark[0] - x) < diameter / 2]
            rest = [mark for mark in rest if mark not in matches]
            double += max(0, len(matches) - 1)
            hits += [max(p for _, p in matches)] if matches else []
        for (s, x), diameter in excluded:
            radius = (UNSIZED_DIAMETER_MM if diameter < 0 else diameter) / 2
            gone = [mark for mark in rest if s == scan and abs(mark[0] - x) < radius]
            ignored += len(gone)
            rest = [mark for mark in rest if mark not in gone]
        false += [p for _, p in rest]
    points = [(0.0, 0.0)]
    for threshold in sorted({*hits, *false}, reverse=True):
        fp = sum(p >= threshold for p in false) / SCANS
        points.append((fp, sum(p >= threshold for p in hits) / len(nodules)))
    counts = (kept_marks, len(hits), len(false), ignored, double)
    return counts, np.interp(FP_RATES, *zip(*points, strict=True))


def check(make_marks, make_nodules, matched, marks, nodules, excluded):
    result = matched(
        SCANS,
        make_marks(*((s, x, p) for (s, x), p in marks)),
        make_nodules(*((s, x, d) for (s, x), d in nodules)),
        make_nodules(*((s, x, d) for (s, x), d in excluded)),
    )
    counts, sensitivity = slow_score(marks, nodules, excluded)
    found = result.counts
    assert counts == (
        found.candidates,
        found.true_positives,
        found.false_positives,
        found.ignored_on_excluded,
        found.ignored_double_detections,
    )
    curve = froc(froc_items(result), samples=0, seed=0)
    np.testing.assert_allclose(curve.at_rates, sensitivity, rtol=1e-12)


@settings(max_examples=150, deadline=None)
@given(marks=marks_of, nodules=nodules_of, excluded=excluded_of)
def test_few_marks(make_marks, make_nodules, matched, marks, nodules, excluded):
    check(make_marks, make_nodules, matched, marks, nodules, excluded)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nodules=nodules_of, excluded=excluded_of)
def test_more_marks_than_the_limit(make_marks, make_nodules, matched, seed, nodules, excluded):
    rng = np.random.default_rng(seed)
    levels = int(rng.integers(2, 300))  # few levels: many ties at the cut-off
    marks = [
        ((scan, float(x)), float(p) / levels)
        for scan in range(SCANS)
        for x, p in zip(
            rng.uniform(-60, 60, 90 + 20 * scan),
            rng.integers(levels, size=90 + 20 * scan),
            strict=True,
        )
    ]
    check(make_marks, make_nodules, matched, marks, nodules, excluded)
