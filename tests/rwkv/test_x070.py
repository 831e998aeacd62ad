"""The fast path against the reference, and what batches and states promise."""

from __future__ import annotations

import random

import pytest
import torch

from rwkv_rag.errors import InputError, ModelMismatch, NotFound
from rwkv_rag.rwkv import layout
from rwkv_rag.rwkv.adapter import Adapter, LowRank, is_matrix, merged
from rwkv_rag.rwkv.checkpoint import Checkpoint, from_tensors, save_checkpoint
from rwkv_rag.rwkv.layout import Shape
from rwkv_rag.rwkv.random_weights import Ranks, random_tensors
from rwkv_rag.rwkv.reference import Reference
from rwkv_rag.rwkv.state import State
from rwkv_rag.rwkv.x070 import X070

VOCAB = 300
TOKENS = random.Random(5).choices(range(VOCAB), k=60)
# Measured on these weights: 1.4e-6 in fp32, 1.2e-2 in bf16, where logits are 0.8 on average.
TIGHT = 2e-5
LOOSE = 0.05


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return from_tensors(random_tensors(3, 128, VOCAB, ranks=Ranks(16, 24, 8, 32), seed=2))


@pytest.fixture(scope="module")
def model(checkpoint) -> X070:
    return X070(checkpoint, dtype="fp32")


@pytest.fixture(scope="module")
def expected(checkpoint) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    logits, hidden, state = Reference(checkpoint.tensors).forward(TOKENS)
    return logits, hidden, torch.stack([layer.wkv for layer in state])


def close(found: torch.Tensor, wanted: torch.Tensor, limit: float = TIGHT) -> None:
    assert found.shape == wanted.shape
    deviation = (found - wanted).abs()
    assert deviation.max() <= limit, f"max {deviation.max():.2e}, mean {deviation.mean():.2e}"


def every_logit(model: X070, tokens: list[int]) -> torch.Tensor:
    """Logits (T, V) after every token, where `forward` gives those after the last."""
    return model._logits(torch.cat(model.forward([tokens], hidden=True).hidden))


def same_state(found: State, wanted: State, limit: float = TIGHT) -> None:
    for name in ("wkv", "att_shift", "ffn_shift"):
        close(getattr(found, name), getattr(wanted, name), limit)


def test_prefill_equals_the_reference(model, expected):
    output = model.forward([TOKENS], hidden=True)
    close(every_logit(model, TOKENS), expected[0])
    close(output.logits, expected[0][-1:])
    close(output.hidden[0], expected[1])
    close(output.state.wkv[:, 0], expected[2])


def test_bf16_stays_near_the_reference_and_chooses_alike(checkpoint, expected):
    logits = every_logit(X070(checkpoint, dtype="bf16"), TOKENS)
    close(logits, expected[0], LOOSE)
    alike = (logits.argmax(1) == expected[0].argmax(1)).float().mean()
    assert alike > 0.9


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_steps_equal_prefill(checkpoint, dtype):
    model = X070(checkpoint, dtype=dtype)
    state = model.zero_state()
    for token in TOKENS[:20]:
        logits = model.step([token], state)
    output = model.forward([TOKENS[:20]])
    limit = TIGHT if dtype == "fp32" else LOOSE
    close(logits, output.logits, limit)
    same_state(state, output.state, limit)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_ragged_batch_equals_each_sequence_alone(checkpoint, dtype):
    model = X070(checkpoint, dtype=dtype)
    sequences = [TOKENS[:1], TOKENS[3:50], TOKENS[7:9], TOKENS[20:33]]
    together = model.forward(sequences, hidden=True)
    limit = TIGHT if dtype == "fp32" else LOOSE
    for index, sequence in enumerate(sequences):
        alone = model.forward([sequence], hidden=True)
        close(together.logits[index : index + 1], alone.logits, limit)
        close(together.hidden[index], alone.hidden[0], limit)
        same_state(together.state.select([index]), alone.state, limit)


@pytest.mark.parametrize("batch", [2, 4, 5, 30])
def test_decoding_a_batch_equals_decoding_each_alone(model, batch):
    prompts = [TOKENS[index : index + 1 + index % 7] for index in range(batch)]
    state = model.forward(prompts).state
    nexts = [TOKENS[-1 - index % 9] for index in range(batch)]
    alone = [state.select([index]) for index in range(batch)]
    logits = model.step(nexts, state)
    for index, memory in enumerate(alone):
        close(logits[index : index + 1], model.step([nexts[index]], memory))
        same_state(state.select([index]), memory)


def test_a_batch_mate_of_infinite_state_harms_nobody(model):
    state = model.zero_state(2)
    state.wkv[:, 1] = float("inf")
    output = model.forward([TOKENS[:9], TOKENS[:4]], state)
    close(output.logits[:1], model.forward([TOKENS[:9]]).logits)
    assert output.logits[1].isnan().all()  # and damage is not hidden


def test_reading_in_two_parts_is_reading_at_once(model):
    whole = model.forward([TOKENS])
    first = model.forward([TOKENS[:23]])
    rest = model.forward([TOKENS[23:]], first.state)
    close(rest.logits, whole.logits)
    same_state(rest.state, whole.state)


def test_forward_leaves_the_given_state_and_step_updates_it(model):
    state = model.forward([TOKENS[:5]]).state
    before = state.clone()
    model.forward([TOKENS[5:9]], state)
    same_state(state, before, 0.0)
    model.step([TOKENS[5]], state)
    assert (state.wkv - before.wkv).abs().max() > 0


def test_hidden_states_come_without_logits_and_logits_without_hidden(model, expected):
    output = model.forward([TOKENS, TOKENS[:3]], hidden=True, logits=False)
    assert output.logits.numel() == 0
    assert [len(part) for part in output.hidden] == [len(TOKENS), 3]
    close(output.hidden[1], expected[1][:3])
    output = model.forward([TOKENS])
    assert output.hidden == []
    close(output.logits, expected[0][-1:])


def test_one_thread_and_all_threads_agree(checkpoint, model):
    single = X070(checkpoint, dtype="fp32", threads=1)
    assert single.threads == 1
    close(single.forward([TOKENS]).logits, model.forward([TOKENS]).logits)


def test_a_model_of_one_layer_and_one_head_runs():
    tensors = random_tensors(1, 64, 20)
    wanted, _, _ = Reference(tensors).forward([1, 2, 3])
    close(every_logit(X070(from_tensors(tensors)), [1, 2, 3]), wanted)


@pytest.mark.parametrize("token", [-1, VOCAB])
def test_a_token_outside_the_vocabulary_is_named(model, token):
    with pytest.raises(InputError, match=str(token)):
        model.forward([[1], [2, token]])
    with pytest.raises(InputError, match=str(token)):
        model.step([token], model.zero_state())


@pytest.mark.parametrize("tokens", [[], [[]], [[1], []]])
def test_empty_sequences_are_refused(model, tokens):
    with pytest.raises(InputError, match="empty"):
        model.forward(tokens)


def test_a_state_of_another_model_or_batch_is_refused(model):
    with pytest.raises(ModelMismatch, match="2 layers"):
        model.forward([[1]], State.zeros(Shape(2, 128, 2, VOCAB, 512, 16, 24, 8, 32)))
    with pytest.raises(InputError, match="state of 3"):
        model.forward([[1], [2]], model.zero_state(3))


def test_loading_needs_a_file_and_a_known_dtype(tmp_path):
    with pytest.raises(NotFound):
        X070.load(tmp_path / "none.safetensors")
    save_checkpoint(tmp_path / "m.safetensors", random_tensors(1, 64, 20))
    assert X070.load(tmp_path / "m.safetensors").dtype == "fp32"
    with pytest.raises(InputError, match="int3"):
        X070.load(tmp_path / "m.safetensors", dtype="int3")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="threads"):
        X070.load(tmp_path / "m.safetensors", threads=0)


def changes(shape: Shape, *, seed: int = 3, every: int = 1) -> Adapter:
    """An adapter that changes one in `every` tensors that adapters can change, all by much."""
    draw = torch.Generator().manual_seed(seed)
    pairs, deltas = {}, {}
    sizes = layout.expected(shape)
    names = [name for name in sizes if name not in ("emb.weight", "head.weight")]
    for name in names[seed % every :: every]:
        if is_matrix(name):
            out, inputs = sizes[name]
            a = torch.randn(4, inputs, generator=draw) * inputs**-0.5
            pairs[name] = LowRank(a, torch.randn(out, 4, generator=draw) * 0.3)
        else:
            deltas[name] = torch.randn(sizes[name], generator=draw) * 0.1
    return Adapter(pairs, deltas)


@pytest.mark.parametrize("every", [1, 5])
def test_an_adapted_model_equals_the_merged_one(checkpoint, model, every):
    adapter = changes(checkpoint.shape, every=every)
    whole = X070(from_tensors(merged(checkpoint.tensors, adapter)), dtype="fp32")
    view = model.adapted(adapter)
    sequences = [TOKENS[:1], TOKENS[3:50], TOKENS[7:9]]
    found, wanted = view.forward(sequences), whole.forward(sequences)
    close(found.logits, wanted.logits, 2 * TIGHT)
    same_state(found.state, wanted.state, 2 * TIGHT)
    steps = [view.step([5, 6, 7], found.state), whole.step([5, 6, 7], wanted.state)]
    close(*steps, 2 * TIGHT)
    assert (found.logits - model.forward(sequences).logits).abs().max() > 0.05


def test_an_adapted_bf16_model_stays_near_the_merged_one(checkpoint):
    adapter = changes(checkpoint.shape)
    whole = X070(from_tensors(merged(checkpoint.tensors, adapter)), dtype="fp32")
    view = X070(checkpoint, dtype="bf16").adapted(adapter)
    close(every_logit(view, TOKENS), every_logit(whole, TOKENS), 2 * LOOSE)


def test_an_adapted_model_shares_its_weights_and_leaves_the_base_alone(checkpoint, model):
    before = model.forward([TOKENS]).logits
    view = model.adapted(changes(checkpoint.shape))
    view.forward([TOKENS])
    close(model.forward([TOKENS]).logits, before, 0.0)
    assert view.weights_bytes == model.weights_bytes
    for mine, base in zip(view._blocks, model._blocks, strict=True):
        for adapted, stack in zip(mine.stacks, base.stacks, strict=True):
            assert adapted.weight.data_ptr() == stack.weight.data_ptr()
    assert view._embedding is model._embedding and view._head is model._head


def test_two_adapters_on_one_base_do_not_mix(checkpoint, model):
    views = [model.adapted(changes(checkpoint.shape, seed=seed)) for seed in (3, 4)]
    first = views[0].forward([TOKENS]).logits
    views[1].forward([TOKENS])
    close(views[0].forward([TOKENS]).logits, first, 0.0)
