"""The one way to a language model: OpenRouter, or whatever speaks like it, with answers in a shape of ours.

Knows nothing of sellers and keeps nothing. What it is given is what is sent: who asks sees to it that no
session and no personal data is in a prompt. Nothing heavy is loaded before the first question, and a log
line never holds one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import structlog
from pydantic import BaseModel

from everystall.errors import ModelAway, ModelDenied, NoModel
from everystall.settings import Settings

if TYPE_CHECKING:
    from pydantic_ai import ModelMessage, ModelResponse
    from pydantic_ai.models.openrouter import OpenRouterModel

log = structlog.get_logger()

T = TypeVar("T", bound=BaseModel)
A = TypeVar("A")

#: Seconds for a question, all its tries together; below the minute after which reverse proxies hang up.
SECONDS: Final = 50.0
#: Seconds for one answer of the model.
TRY_SECONDS: Final = 30.0
#: Tokens that an answer has at most.
MOST_TOKENS: Final = 2000
#: Of an answer, for what it will cost: ours have 200 to 700.
USUAL_TOKENS: Final = 700
#: Of a photo of 1024 pixels: 258 to 1,600, by model.
PHOTO_TOKENS: Final = 1000
#: Dollars for a million tokens in and out where nobody knows the model's prices: more than most.
DEAR: Final = (5.0, 25.0)


@dataclass(frozen=True)
class Answer(Generic[A]):
    said: A
    #: Who said it, as OpenRouter calls it.
    model: str
    tokens_in: int
    tokens_out: int
    #: Millionths of a dollar; of all tries.
    cost: int


class Model:
    """Asks the settings' model, and where that does not answer usably the one behind it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def follow(self, settings: Settings) -> None:
        """By these from now on."""
        self._settings = settings
        for made in ("_models", "_client"):
            vars(self).pop(made, None)

    @property
    def ready(self) -> bool:
        """Whether there is a key; else every question raises NoModel."""
        key = self._settings.openrouter_api_key
        return key is not None and bool(key.get_secret_value())

    @property
    def name(self) -> str:
        return self._settings.openrouter_model

    async def ask(self, kind: str, prompt: str, images: Sequence[bytes], answer_type: type[T]) -> T:
        """What `answer` says, by itself."""
        return (await self.answer(kind, prompt, images, answer_type)).said

    async def answer(
        self, kind: str, prompt: str, images: Sequence[bytes], answer_type: type[T], *,
        seconds: float = SECONDS,
    ) -> Answer[T]:  # fmt: skip
        """`kind`: what it is about, for the log. `images`: JPEGs; the prompt may call them photo 1, photo 2,
        … `seconds`: for all its tries together. Raises NoModel; ModelDenied (key, credit); ModelAway with
        what was spent all the same."""
        if not self.ready:
            raise NoModel
        began = time.monotonic()
        heard: list[ModelMessage] = []
        models = await asyncio.to_thread(lambda: self._models)
        try:
            async with asyncio.timeout(seconds):
                said = await _first(models, prompt, images, answer_type, heard, seconds)
        except TimeoutError:
            log.warning("model.late", kind=kind, seconds=seconds)
            raise ModelAway(f"The model did not answer within {seconds:.0f} seconds.") from None
        except ModelAway as e:
            e.cost = _spent(heard)[2]
            log.warning("model.away", kind=kind, why=e.why, cost=e.cost)
            raise
        tokens_in, tokens_out, cost = _spent(heard)
        name = next((one.model_name for one in reversed(_responses(heard)) if one.model_name), self.name)
        log.info("model.answered", kind=kind, model=name, tokens_in=tokens_in, tokens_out=tokens_out,
                 cost=cost, seconds=round(time.monotonic() - began, 1))  # fmt: skip
        return Answer(said, name, tokens_in, tokens_out, cost)

    async def chat(
        self, kind: str, messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None
    ) -> Answer[str]:
        """To messages that others made (browser/agent.py), as OpenAI's chat has them: the answer as JSON of
        that schema. Raises as `answer` does."""
        if not self.ready:
            raise NoModel
        client = await asyncio.to_thread(lambda: self._client)
        openai = import_module("openai")
        more: dict[str, Any] = {"usage": {"include": True}, "provider": {"data_collection": "deny"}}
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
        why, lost, late = "", 0, False
        for name in self._names:
            try:
                async with asyncio.timeout(TRY_SECONDS):  # the client's is each try's
                    said = await client.chat.completions.create(
                        model=name, messages=list(messages), max_tokens=MOST_TOKENS, extra_body=more,
                        **({"response_format": form} if schema else {}),
                    )  # fmt: skip
            except TimeoutError:
                why, late = "late", True
                continue
            except openai.APIStatusError as e:
                if e.status_code in (401, 402) or (e.status_code == 403 and name == self._names[-1]):
                    raise ModelDenied from None  # 403 may be this model's alone
                why = f"status {e.status_code}"
                continue
            except openai.APIError as e:
                why, late = type(e).__name__, late or isinstance(e, openai.APITimeoutError)
                continue
            used = said.usage  # some say nothing of it: then about as much as it was
            given, made = ((used.prompt_tokens, used.completion_tokens) if used
                           else (_tokens(messages, schema), USUAL_TOKENS))  # fmt: skip
            told = getattr(used, "cost", None)
            cost = lost + (_price(name, given, made) if told is None else round(told * 1e6))
            if said.choices and (words := said.choices[0].message.content):
                log.info("model.answered", kind=kind, model=name, tokens_in=given, tokens_out=made,
                         cost=cost)  # fmt: skip
                return Answer(words, name, given, made, cost)
            why, lost = "no answer", cost
        log.warning("model.away", kind=kind, why=why, cost=lost)
        away = ModelAway(why=why)
        away.cost = None if late else lost
        raise away

    async def estimate(self, prompt: str, images: int, answer_type: type[BaseModel]) -> int:
        """Millionths of a dollar that a question will cost, about; more rather than less."""
        schema = len(str(answer_type.model_json_schema()))
        tokens = (len(prompt) + schema) // 3 + images * PHOTO_TOKENS
        return await asyncio.to_thread(_price, self.name, tokens, USUAL_TOKENS)

    async def estimate_chat(
        self, messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None
    ) -> int:
        """The same of a turn of `chat`."""
        return await asyncio.to_thread(_price, self.name, _tokens(messages, schema), USUAL_TOKENS)

    @cached_property
    def _models(self) -> Sequence[OpenRouterModel]:
        """Loading takes a second or more; connections are opened by questions only."""
        routed = import_module("pydantic_ai.models.openrouter")
        provider = import_module("pydantic_ai.providers.openrouter")
        given = provider.OpenRouterProvider(openai_client=self._client)
        return [routed.OpenRouterModel(name, provider=given) for name in self._names]

    @cached_property
    def _client(self) -> Any:
        key = self._settings.openrouter_api_key
        return import_module("openai").AsyncOpenAI(
            api_key=key.get_secret_value() if key else "", base_url=self._settings.openrouter_url,
            timeout=TRY_SECONDS, max_retries=1,
        )  # fmt: skip

    @property
    def _names(self) -> Sequence[str]:
        return list(dict.fromkeys(filter(None, (self.name, self._settings.openrouter_fallback_model))))


async def _first(
    models: Sequence[OpenRouterModel], prompt: str, images: Sequence[bytes], answer_type: type[T],
    heard: list[ModelMessage], seconds: float,
) -> T:  # fmt: skip
    """The first usable answer; `heard` is told of all that was said. A wrong shape is asked again once. Each
    has its share of the seconds, so that one that dawdles leaves the next some."""
    from pydantic_ai import Agent, BinaryContent, capture_run_messages
    from pydantic_ai.exceptions import AgentRunError, ModelHTTPError
    from pydantic_ai.models.openrouter import OpenRouterModelSettings

    asked: list[str | BinaryContent] = [prompt]
    for number, image in enumerate(images, 1):
        asked += [f"Photo {number}:", BinaryContent(image, media_type="image/jpeg")]
    # providers that keep what they are sent are left out
    how = OpenRouterModelSettings(
        max_tokens=MOST_TOKENS, openrouter_usage={"include": True},
        openrouter_provider={"data_collection": "deny"},
    )  # fmt: skip
    why, end = "", time.monotonic() + seconds
    for place, model in enumerate(models):
        agent = Agent(model, output_type=answer_type, retries=1, model_settings=how)
        share, last = (end - time.monotonic()) / (len(models) - place), model is models[-1]
        with capture_run_messages() as messages:
            try:
                async with asyncio.timeout(None if last else share):
                    result = await agent.run(asked)
            except TimeoutError:
                if last:  # the caller's: it is over
                    raise
                why = "late"
            except ModelHTTPError as e:
                if e.status_code in (401, 402) or (e.status_code == 403 and last):
                    raise ModelDenied from None  # 403 may be this model's alone
                why = f"status {e.status_code}"
            except AgentRunError as e:
                why = type(e).__name__
            else:
                heard += messages
                return result.output
        heard += messages
    raise ModelAway(why=why)


def _responses(heard: Sequence[ModelMessage]) -> list[ModelResponse]:
    return [one for one in heard if one.kind == "response"]


def _spent(heard: Sequence[ModelMessage]) -> tuple[int, int, int]:
    """Tokens in and out, and the cost: as OpenRouter says it, else by the model's price list."""
    tokens_in = tokens_out = cost = 0
    for one in _responses(heard):
        given, made = one.usage.input_tokens, one.usage.output_tokens
        said: Any = (one.provider_details or {}).get("cost")
        told = round(said * 1e6) if isinstance(said, int | float) else None
        cost += _price(one.model_name or "", given, made) if told is None else told
        tokens_in, tokens_out = tokens_in + given, tokens_out + made
    return tokens_in, tokens_out, cost


def _tokens(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None) -> int:
    """Of a question, about."""
    return (len(str(messages)) + len(str(schema))) // 3


def _price(model: str, tokens_in: int, tokens_out: int) -> int:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    try:
        return round(calc_price(usage, model, provider_id="openrouter").total_price * 1_000_000)
    except LookupError:
        return round(tokens_in * DEAR[0] + tokens_out * DEAR[1])
