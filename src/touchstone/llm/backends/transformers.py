"""The `transformers` backend: a causal language model in this process, by name or folder; no text
leaves the machine.

Chat template, left padding, batches of similar length within a budget of tokens, seeded draws
(decoding.py). Control tokens that stand in a note are encoded as plain text, so a note cannot end
its own turn. A request's answer does not depend on the batch it was in, up to the arithmetic of
different batch shapes. Does not split a model over several devices and does not quantise: serve
such a model with vLLM or llama.cpp and use `llm=vllm` or `llm=llamacpp`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from touchstone.errors import UserError
from touchstone.llm import chat
from touchstone.llm import leases as claims
from touchstone.llm.budget import used_tokens
from touchstone.llm.protocol import Obtained, Request, Response
from touchstone.llm.store import Store
from touchstone.progress import progress as showing

if TYPE_CHECKING:
    from touchstone.schema import LLMConfig

log = logging.getLogger(__name__)
NO_LIMIT_TOKENS = 2048  # for requests without max_tokens


@dataclass(frozen=True)
class Model:
    """A loaded model: its tokenizer, the longest text it takes, its end tokens, and llguidance's
    view of it (None: not constrained)."""

    model: Any
    tokenizer: Any
    context: int | None
    ends: tuple[int, ...]
    guide: Any
    device: str
    description: str


@dataclass(frozen=True)
class _Asked:
    key: str
    request: Request
    ids: list[int]
    limit: int


def answer(asked: Mapping[str, Request], store: Store, llm: LLMConfig, progress: bool) -> Obtained:
    """Generate the answers to requests (by key), shortest first.

    Raises
    ------
    UserError
        If the model cannot be loaded, or has no chat template.
    KeyboardInterrupt
        What was generated is kept.
    """
    model = load(llm.model, llm.dtype, llm.device, llm.trust_remote_code)
    found, owner = Obtained(), claims.new_owner()
    if llm.structured == "instruction":
        model = replace(model, guide=None)
    elif model.guide is None and any(request.schema is not None for request in asked.values()):
        found.notes.append(
            "the JSON schema is told to the model and checked, not enforced: pip install "
            "'touchstone-nlp[constrained]' enforces it"
        )
    items = []
    for key, request in asked.items():
        ids = encode(model, request)
        limit = request.params.get("max_tokens") or NO_LIMIT_TOKENS
        if model.context is not None and len(ids) + limit > model.context:
            found.failed[key] = (
                f"{len(ids)} tokens of prompt and {limit} of answer pass the model's context of "
                f"{model.context}"
            )
        else:
            items.append(_Asked(key, request, ids, limit))
    try:
        with showing(
            next(iter(asked.values())).stage or "requests", len(asked), "requests", shown=progress
        ) as report:
            for batch in _claimed(items, llm.batch_tokens, store, owner, found):
                for item, response in _generated(model, batch, llm, store, owner):
                    _keep(item, response, store, llm)
                    found.responses[item.key] = response
                    found.new.add(item.key)
                found.tries += len(batch)
                report(len(found.responses) + len(found.failed))
    except KeyboardInterrupt:
        log.warning(
            "interrupted: done %d, failed %d, left %d",
            len(found.responses),
            len(found.failed),
            len(asked) - len(found.responses),
        )
        raise
    finally:
        claims.release(store, owner)
    return found


@lru_cache(maxsize=1)
def load(name: str, dtype: str, device: str, trust_remote_code: bool) -> Model:
    """Load a model by Hugging Face name or folder; the last one stays loaded.

    Parameters
    ----------
    dtype : a torch dtype, or auto: bfloat16 (float16 where the device has none) on an accelerator,
        float32 on a CPU.
    device : a torch device, or auto: cuda, mps or cpu, the first that there is.
    """
    import torch
    import transformers

    from touchstone.llm.decoding import guide_of

    if device == "auto":
        device = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    kind = _dtype(dtype, device)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            name, padding_side="left", trust_remote_code=trust_remote_code
        )
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(
            name, dtype=kind, trust_remote_code=trust_remote_code
        )
        model = model.to(device).eval()
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"llm.model={name}: cannot load it as a causal language model: {first}"
        ) from error
    if not tokenizer.chat_template:
        raise UserError(
            f"llm.model={name}: it has no chat template; choose an instruction-tuned model"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokens = model.generation_config.eos_token_id
    ends = (
        tokens
        if isinstance(tokens, list)
        else [tokens if tokens is not None else tokenizer.eos_token_id]
    )
    if ends == [None]:
        raise UserError(
            f"llm.model={name}: neither the model nor its tokenizer names an end-of-text token"
        )
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    n_vocab = model.get_output_embeddings().weight.shape[0]
    description = (
        f"transformers {transformers.__version__}, {str(kind).removeprefix('torch.')} on {device}"
    )
    return Model(
        model,
        tokenizer,
        context,
        tuple(ends),
        guide_of(tokenizer, n_vocab, ends),
        device,
        description,
    )


def encode(model: Model, request: Request) -> list[int]:
    """Return a request's prompt as token ids; the schema is told where it cannot be enforced."""
    messages = [dict(message) for message in request.messages]
    if request.schema is not None and model.guide is None:
        messages[-1]["content"] += "\n\n" + chat.instruction(request.schema)
    try:
        return _templated(model.tokenizer, messages)
    except (
        Exception
    ) as error:  # templates raise whatever their authors chose; most often over a system message
        if messages[0]["role"] != "system" or len(messages) < 2:
            raise UserError(
                f"the model's chat template refuses the messages ({type(error).__name__})"
            ) from None
    merged = {
        "role": messages[1]["role"],
        "content": f"{messages[0]['content']}\n\n{messages[1]['content']}",
    }
    try:
        return _templated(model.tokenizer, [merged, *messages[2:]])
    except Exception as error:
        raise UserError(
            f"the model's chat template refuses the messages ({type(error).__name__})"
        ) from None


def batches(items: Sequence[_Asked], batch_tokens: int) -> Iterator[list[_Asked]]:
    """Yield items of similar length together, shortest first, so that rows x longest (prompt and
    answer) stays within `batch_tokens`."""
    batch: list[_Asked] = []
    longest = 0
    for item in sorted(items, key=lambda item: (len(item.ids) + item.limit, item.key)):
        size = len(item.ids) + item.limit
        if batch and (len(batch) + 1) * max(longest, size) > batch_tokens:
            yield batch
            batch, longest = [], 0
        batch.append(item)
        longest = max(longest, size)
    if batch:
        yield batch


def _templated(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    return tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, sanitize_control_tokens=True, return_dict=False
    )


def _claimed(
    items: Sequence[_Asked], batch_tokens: int, store: Store, owner: str, found: Obtained
) -> Iterator[list[_Asked]]:
    """Yield batches of what nobody else is generating; wait for the rest, and take over what others
    gave up."""
    left = {item.key: item for item in items}
    while left:
        progressed = False
        for batch in batches(list(left.values()), batch_tokens):
            mine, _, _ = claims.claim(store, [(item.key, 0.0) for item in batch], owner)
            if mine:
                yield [left.pop(key) for key in mine]
                progressed = True
        for key, response in store.get(left).items():
            found.responses[key] = response
            del left[key]
        if left and not progressed:
            time.sleep(0.5)


def _generated(
    model: Model, batch: Sequence[_Asked], llm: LLMConfig, store: Store, owner: str
) -> list[tuple[_Asked, Response]]:
    """Generate one batch; in halves where the device's memory does not suffice."""
    import torch

    try:
        return _generate(model, batch, llm, store, owner)
    except torch.OutOfMemoryError:
        if len(batch) == 1:
            raise UserError(
                f"llm.model={llm.model}: one request of {len(batch[0].ids)} tokens does not fit "
                "into the device's memory"
            ) from None
    torch.cuda.empty_cache()
    half = len(batch) // 2
    return [
        *_generated(model, batch[:half], llm, store, owner),
        *_generated(model, batch[half:], llm, store, owner),
    ]


def _generate(
    model: Model, batch: Sequence[_Asked], llm: LLMConfig, store: Store, owner: str
) -> list[tuple[_Asked, Response]]:
    import torch
    from transformers import LogitsProcessorList

    from touchstone.llm.decoding import Decoder, row_of

    last = started = time.perf_counter()

    def beat() -> None:
        nonlocal last
        if time.perf_counter() - last > claims.CLAIM_S / 3:
            last = time.perf_counter()
            claims.heartbeat(store, owner)

    rows = [row_of(item.request, item.key, item.limit, model.guide) for item in batch]
    inputs = model.tokenizer.pad(
        {"input_ids": [item.ids for item in batch]}, padding_side="left", return_tensors="pt"
    ).to(model.device)
    with torch.inference_mode():
        tokens = model.model.generate(
            **inputs,
            max_new_tokens=max(item.limit for item in batch),
            do_sample=False,
            num_beams=1,
            logits_processor=LogitsProcessorList([Decoder(rows, model.ends, beat)]),
            eos_token_id=list(model.ends),
            pad_token_id=model.tokenizer.pad_token_id,
        )
    seconds = time.perf_counter() - started
    width = inputs["input_ids"].shape[1]
    return [
        (item, _response(model, item, ids[width:].tolist(), llm.model, seconds))
        for item, ids in zip(batch, tokens, strict=True)
    ]


def _response(model: Model, item: _Asked, ids: list[int], name: str, seconds: float) -> Response:
    end = next((index for index, token in enumerate(ids) if token in model.ends), len(ids))
    return Response(
        key=item.key,
        text=chat.clean(
            model.tokenizer.decode(ids[: min(end, item.limit)], skip_special_tokens=True)
        ),
        finish_reason="stop" if end < item.limit else "length",
        model=name,
        usage={"prompt_tokens": len(item.ids), "completion_tokens": min(end, item.limit)},
        fingerprint=model.description,
        latency_s=round(seconds, 4),
        created=chat.now(),
    )


def _keep(item: _Asked, response: Response, store: Store, llm: LLMConfig) -> None:
    request = item.request
    counts, _ = used_tokens(request, response)
    store.put(
        response,
        endpoint=llm.endpoint,
        model=llm.model,
        request=request,
        stage=request.stage,
        restricted=request.restricted,
        tokens=counts,
    )


def _dtype(name: str, device: str) -> Any:
    import torch

    if name == "auto":
        if device == "cpu":
            return torch.float32
        return (
            torch.bfloat16
            if device.startswith("cuda") and torch.cuda.is_bf16_supported()
            else torch.float16
        )
    kind = getattr(torch, name, None)
    if not isinstance(kind, torch.dtype):
        raise UserError(
            f"llm.dtype={name}: no such torch dtype; float32, bfloat16, float16 or auto"
        )
    return kind
