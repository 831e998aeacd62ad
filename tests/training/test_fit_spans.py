"""Fitting the span scorer: the score is the reader's, the fit learns, the file is reproducible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fit_spans
import pytest
import torch
from batches import HELD_OUT
from fit_spans import Example
from hypothesis import given
from hypothesis import strategies as st

from rwkv_rag.evaluation.dataset import Row, read
from rwkv_rag.evaluation.metrics import f1, tokens
from rwkv_rag.rag.span_weights import WEIGHTS
from rwkv_rag.rag.spans import SpanReader

TEXT = st.text(alphabet="灯塔高 ab1,。", max_size=12)


@pytest.fixture(scope="module")
def rows(data: Path) -> list[Row]:
    return [row for row in read(data / "qa/train.jsonl.xz") if row.answerable]


def loaded(text: str) -> dict[str, dict[str, float]]:
    found: dict[str, Any] = {}
    exec(compile(text, "span_weights", "exec"), found)
    weights: dict[str, dict[str, float]] = found["WEIGHTS"]
    return weights


def test_the_best_score_is_the_span_that_the_reader_finds(rows: Sequence[Row]) -> None:
    """Else weights were fitted for something the program does not do."""
    for row in rows[::4]:
        signs: dict[str, int] = {}
        found = fit_spans.example(row, signs, grow=True)
        assert found is not None
        weights = torch.tensor([WEIGHTS[row.lang].get(sign, 0.0) for sign in signs])
        scores = found.scores(weights)
        (reading,) = SpanReader(fit_spans.SENTENCES).read(row.question, [row.passage])
        assert reading is not None
        answer = row.passage[reading.span.start : reading.span.end]
        best = found.f1[scores > scores.max() - 1e-4].tolist()  # equals are ordered elsewhere
        assert any(each == pytest.approx(f1(answer, row.answers, row.lang)) for each in best)


def test_signs_that_were_not_fitted_weigh_nothing(rows: Sequence[Row]) -> None:
    signs = {"coverage": 0}
    found = fit_spans.example(rows[0], signs, grow=False)
    assert signs == {"coverage": 0} and found is not None
    assert set(found.sign.tolist()) == {0}


@given(TEXT, st.lists(TEXT, min_size=1, max_size=3), st.sampled_from(["zh", "en"]))
def test_f1_is_that_of_the_evaluation(answer: str, truths: list[str], language: Any) -> None:
    counted = [Counter(tokens(truth, language)) for truth in truths]
    found = tokens(answer, language)
    if found:
        assert fit_spans.best_f1(found, counted) == pytest.approx(f1(answer, truths, language))


def test_fitting_finds_the_sign_that_goes_with_right_spans() -> None:
    def made(right: int) -> Example:
        """Three candidates; sign 0 marks the right one, sign 1 all, sign 2 the first."""
        value = torch.ones(5)
        candidate, sign = torch.tensor([right, 0, 1, 2, 0]), torch.tensor([0, 1, 1, 1, 2])
        return Example(torch.eye(3)[right], candidate, sign, value)

    examples = [made(n % 3) for n in range(120)]
    weights = fit_spans.fit(examples, 3)
    assert weights[0] > 0 and weights[0] > 5 * weights[1:].abs().max()
    assert fit_spans.mean_f1(examples, list("abc"), {"a": 1.0}) == 1.0
    assert fit_spans.fit(examples, 3).equal(weights)


def test_the_file_in_the_package_has_the_form_that_the_script_writes() -> None:
    body = "from __future__"
    written = fit_spans.module(WEIGHTS, {"zh": 1, "en": 1})
    shipped = fit_spans.SHIPPED.read_text(encoding="utf-8")
    assert written[written.index(body) :] == shipped[shipped.index(body) :]


def test_a_fit_leaves_out_the_rows_held_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Row] = []
    measured: list[Row] = []

    def gather(language: Any, fitting: Sequence[Row], measuring: Sequence[Row]) -> Any:
        fitted.extend(fitting)
        measured.extend(measuring)
        return whole(language, fitting, measuring)

    whole = fit_spans.gather
    monkeypatch.setattr(fit_spans, "gather", gather)
    fit_spans.main([str(data), "--rows", "15", "--out", str(tmp_path / "weights.py")])
    kept_back = read(data / "qa/train.jsonl.xz")[::HELD_OUT]
    assert len(fitted) == 30 and {row.lang for row in fitted} == {"zh", "en"}
    assert {row.id for row in measured} <= {row.id for row in kept_back}
    assert not {row.id for row in fitted} & {row.id for row in kept_back}
    weights = loaded((tmp_path / "weights.py").read_text(encoding="utf-8"))
    assert all(weights[language] for language in ("zh", "en"))
    assert not any(value == 0 for each in weights.values() for value in each.values())
