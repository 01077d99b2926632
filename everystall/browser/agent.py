"""Rung 4: a browser-use agent does one step, or clears the way to it, where the other rungs stopped.

It runs as a process of its own (agent/, installed by `make agent`), reads the page over CDP and asks us, line
by line, for each act. We look at what it wants: it has the step's own value put into what looks like the
step's own field, presses nothing that publishes, follows no link away; and as long as it works nothing is
loaded from hosts that the adapter does not list. What publishes is pressed by `Page.commit` alone, after the
form was read back.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

import structlog
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import FilePayload, Locator

from everystall.browser.heal import Healed
from everystall.browser.likeness import ALIKE, FINAL, likeness
from everystall.browser.looks import SHOWN, TRAITS, impersonal, layout_of
from everystall.browser.targets import Target
from everystall.errors import EverystallError

if TYPE_CHECKING:
    from everystall.browser.page import Page
    from everystall.browser.session import Browser
    from everystall.marketplaces.base import PhotoFile

log = structlog.get_logger()

HOME = Path(__file__).resolve().parents[2] / "agent"
PYTHON = HOME / ".venv" / "bin" / "python"
#: Of one step of a visit, all that is asked of it together.
MOST_STEPS, MOST_TOKENS, MOST_SECONDS = 12, 60_000, 120.0
#: Of a line that it sends: a prompt.
MOST_LINE = 2**22
#: What it presses only where that looks like the step's own: most of these bind or cost, some end a dialog.
BINDS = re.compile(
    r"\b(save|buy|purchase|check ?out|order|confirm|subscribe|promote|boost|upgrade|donate)\b", re.IGNORECASE
)
#: What each act is done with.
_KINDS = {"press": ("press", "check", "words"), "write": ("text",), "choose": ("select",),
          "upload_photos": ("file",)}  # fmt: skip
#: What an element shows of itself, and what is pressed with it: what it stands in, what it is the label of.
_PRESSED = """(one) => {
  const PRESSED = "button, a, input, summary, [role='button'], [role='link'], [role='menuitem']";
  one.scrollIntoView({block: "center", inline: "center"});
  const box = one.getBoundingClientRect();
  const hit = one.ownerDocument.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  const about = new Set([one, hit].filter(Boolean)
    .flatMap((e) => [e, e.closest(PRESSED), e.closest("label")?.control]).filter(Boolean));
  return [...about].map((e) => ({
    said: [e, ...e.querySelectorAll("[alt], [title], [aria-label]")].flatMap((x) => [
      x === e ? e.innerText ?? e.textContent : "", x.getAttribute("aria-label"), x.title, x.alt,
      x.matches("input") && ["submit", "button", "image", "reset"].includes(x.type) ? x.value : "",
      ...(x.getAttribute("aria-labelledby") ?? "").split(/\\s+/).filter(Boolean)
        .map((id) => e.ownerDocument.getElementById(id)?.textContent ?? ""),
    ]).join(" "),
    submits: ["submit", "image"].includes(e.type) && !!e.form,
    href: e.closest("a[href], area[href]")?.href ?? "",
    away: !!e.closest("a[target]:not([target='']):not([target='_self']), a[download]"),
  }));
}"""
#: Whether pressing the marked element ticks one of these.
_TICKS = """(all, mark) => all.some((one) =>
  one.matches("[type=checkbox], [type=radio], [role=checkbox], [role=radio], [role=switch]") &&
  [one, ...(one.labels ?? [])].some((e) => e.closest(`[evs-mark="${mark}"]`)
    || e.querySelector(`[evs-mark="${mark}"]`)))"""


@dataclass(frozen=True)
class Wish:
    """What could not be done: on which target, and what is to be done there in words."""

    target: Target
    do: str
    #: As what the target is looked for.
    state: Literal["visible", "attached"] = "visible"
    #: It only has to be there, and usable.
    waits: bool = False
    #: What is to be written or chosen there.
    value: str | None = None


@dataclass(frozen=True)
class Said:
    """What a model said, as JSON, and the tokens that it took."""

    text: str
    tokens_in: int
    tokens_out: int


#: done: it did the step · clear: the step can be done now · None: neither.
Came = Literal["done", "clear"] | None
#: Messages as OpenAI's chat has them, and the schema of the answer. Raises ours where there is none.
Chat = Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any] | None], Awaitable[Said]]


class Helper(Protocol):
    @property
    def says(self) -> str:
        """Why it did not come to anything, for the seller."""
        ...

    async def help(self, page: Page, wish: Wish) -> Came: ...


@dataclass
class Absent:
    """In place of one that is not there."""

    why: str

    @property
    def says(self) -> str:
        return f"No agent looked after it: {self.why}."

    async def help(self, page: Page, wish: Wish) -> Came:
        log.info("agent.absent", target=wish.target.key, why=self.why)
        return None


class _Ends(Exception):
    """There is no answer of a model to go on with."""


class _Refused(Exception):
    """What it asked for is not done; the words are for the model."""


async def _nothing() -> None:
    pass


def is_installed() -> bool:
    return (HOME / ".venv" / "ready").exists()


@dataclass
class Agent:
    """For one step of a visit: one listing is filled in on one page."""

    browser: Browser
    chat: Chat
    #: What the form shall say in the end, by name; nothing of the account's.
    fields: Mapping[str, Any]
    #: What a model reads of it.
    told: Mapping[str, Any]
    photos: Sequence[PhotoFile]
    #: What publishes, saves or takes down on this site.
    commits: Sequence[Target]
    #: The prompts, by name and with what they ask for.
    render: Callable[..., str]
    #: Blots what is secret in a text, and whose it is.
    scrub: Callable[[str], str] = str
    #: Awaited before each act, whatever may come of that. It raises ours where nothing may be done any more.
    before: Callable[[], Awaitable[None]] = _nothing
    most_steps: int = MOST_STEPS
    most_tokens: int = MOST_TOKENS
    most_seconds: float = MOST_SECONDS
    #: Milliseconds that an act may take.
    act_ms: float = 3000
    says: str = "An agent did not find a way either."
    #: What it took so far.
    steps: int = 0
    tokens: int = 0
    seconds: float = 0.0
    #: Elements that it pressed, wrote into or chose from: something may have come of it.
    acts: int = 0
    _learned: tuple[Locator, Healed] | None = field(default=None, init=False)

    async def help(self, page: Page, wish: Wish) -> Came:
        """What the agent does wrong raises nothing: then the step stops as it would have without it. A page
        that asks to sign in, or for a captcha, raises."""
        left = self.most_seconds - self.seconds
        if self.browser.cdp_url is None or left <= 0 or self.steps >= self.most_steps:
            return None
        began, before = time.monotonic(), (self.steps, self.tokens)
        came: Came = None
        log.info("agent.begins", target=wish.target.key)
        try:
            async with asyncio.timeout(left), self.browser.only_listed():
                came = await self._run(page, wish)
        except TimeoutError:
            log.warning("agent.out_of_time", seconds=self.most_seconds)
        except _Ends as e:
            log.warning("agent.no_answer", why=str(e))
        except (OSError, ValueError, KeyError, TypeError, PlaywrightError) as e:
            log.warning("agent.failed", error=type(e).__name__)
        finally:
            self.seconds += time.monotonic() - began
        await self._keep(page, wish, came)
        log.info("agent.ended", target=wish.target.key, came=came, steps=self.steps - before[0],
                 tokens=self.tokens - before[1], seconds=round(time.monotonic() - began, 1))  # fmt: skip
        return came

    async def _run(self, page: Page, wish: Wish) -> Came:
        cdp = await page.raw.context.new_cdp_session(page.raw)
        try:
            here = (await cdp.send("Target.getTargetInfo"))["targetInfo"]["targetId"]
            task = {"cdp_url": self.browser.cdp_url, "target_id": here, "task": self.scrub(self._task(wish)),
                    "rules": self.render("agent"), "steps": self.most_steps - self.steps}  # fmt: skip
            async with _process() as (reader, writer):

                async def say(what: Mapping[str, Any]) -> None:
                    writer.write(json.dumps(what).encode() + b"\n")
                    await writer.drain()

                await say(task)
                while line := await reader.readline():
                    asked = json.loads(line)
                    do = str(asked["do"])
                    if do == "end":
                        log.info("agent.gave_up", refused=asked["refused"])
                        return None
                    if do == "model":
                        await say(await self._ask(asked["messages"], asked["schema"]))
                    elif do != "ready":
                        try:
                            if do == "request_publish":
                                return await self._accept(page, wish, bool(asked["step_done"]))
                            await self._act(page, cdp, wish, do, int(asked["node"]))
                            await say({"said": "Done.", "wrong": False})
                        except _Refused as e:
                            log.info("agent.refused", do=do, why=str(e))
                            await say({"said": str(e), "wrong": True})
                log.warning("agent.ended_early")
                return None
        finally:
            with suppress(PlaywrightError):
                await cdp.detach()

    # ---- the model ----

    def _task(self, wish: Wish) -> str:
        own = json.dumps(self.told, ensure_ascii=False, indent=1)
        value = "" if wish.value is None else f" Its value: “{wish.value}”."
        return self.render("step", do=wish.do, value=value, listing=own)

    async def _ask(
        self, messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        if self.steps >= self.most_steps or self.tokens >= self.most_tokens:
            raise _Ends("its budget is spent")
        self.steps += 1
        try:
            said = await self.chat(_each_text(messages, self.scrub), schema)
        except EverystallError as e:
            raise _Ends(e.code) from e
        self.tokens += said.tokens_in + said.tokens_out
        return {"text": said.text, "tokens_in": said.tokens_in, "tokens_out": said.tokens_out}

    # ---- what it asks for ----

    async def _accept(self, page: Page, wish: Wish, done: bool) -> Came:
        await page.look_out()
        if not self.acts:
            raise _Refused("You have done nothing yet.")
        ours = not done or wish.waits or not (wish.target.heal and wish.target.guess)
        if ours:
            self._forget(page)
        if ours and not await page.stands(wish.target, state=wish.state):
            raise _Refused(f"The step cannot be done yet: {wish.target.intent} is not there, or disabled.")
        return "clear" if ours else "done"

    async def _act(self, page: Page, cdp: Any, wish: Wish, do: str, node: int) -> None:
        """Raises _Refused."""
        await page.look_out()
        mark = f"evs-{secrets.token_hex(6)}"
        try:
            found = await _marked(page, cdp, node, mark)
            look = await found.evaluate(f"(one) => ({TRAITS})([one])[0]", timeout=self.act_ms)
            if not look["enabled"] or not (look["visible"] or look["kind"] in ("file", "check")):
                raise _Refused("This cannot be used: it is hidden or disabled.")
            for one in page.sealed:
                if await page.has(one):
                    raise _Refused("This part is filled in and read already: close it, it stays as it is.")
            if _KINDS.get(do) is None or look["kind"] not in _KINDS[do]:
                raise _Refused(f"That is not done with a thing of this kind ({look['kind']}).")
            if do == "press":
                await self._may_press(page, wish, found, look)
                await _may_tick(page, wish, mark)
            else:
                await self._may_fill(page, wish, found, do)
            self._forget(page)
            self._learned = await _learn(page, found, wish)
            await self.before()
            self.acts += 1  # before: who is cut off meanwhile may have done it
            page.acts += 1
            await self._do(page, wish, found, do)
        except PlaywrightError as e:
            raise _Refused("That did not work: it is gone, covered, or of another kind.") from e
        finally:
            await _unmark(page, mark)

    async def _do(self, page: Page, wish: Wish, found: Locator, do: str) -> None:
        if do == "press":
            await found.click(timeout=self.act_ms)
        elif do == "write":
            if page.healing is not None:
                page.healing.written.add(wish.value or "")
            await found.fill(wish.value or "", timeout=self.act_ms)
        elif do == "choose":
            await found.select_option(label=wish.value, timeout=self.act_ms)
        else:
            files = [FilePayload(name=one.name, mimeType=one.content_type, buffer=one.data)
                     for one in self.photos]  # fmt: skip
            await found.set_input_files(files, timeout=20_000)

    async def _is_own(self, page: Page, wish: Wish, found: Locator) -> bool:
        """It looks like what the step looks for, and is nothing else's."""
        layout, taken = layout_of(page.url, wish.target.frame), page.taken(wish.target)
        attached = wish.state == "attached"
        return (
            page.healing is not None and wish.target.heal
            and await page.healing.may_be(found, wish.target, layout, attached=attached, taken=taken)
        )  # fmt: skip

    async def _may_fill(self, page: Page, wish: Wish, found: Locator, do: str) -> None:
        """The step's own value into what looks like the step's own field, where nothing of the listing
        stands yet."""
        if do != "upload_photos" and wish.value is None:
            raise _Refused("This step writes and chooses nothing.")
        if not await self._is_own(page, wish, found):
            raise _Refused(f"This does not look like {wish.target.intent}, or is something else's.")
        if do != "upload_photos" and _is_one_of(
            await found.evaluate(SHOWN, timeout=self.act_ms), self.fields
        ):
            raise _Refused("This says already what the listing says: it is not written over.")

    async def _may_press(self, page: Page, wish: Wish, found: Locator, look: Mapping[str, Any]) -> None:
        """Not what publishes: by its locators, its words, what it does, and its likeness to what did."""
        here = urlsplit(page.url)
        for one in await found.evaluate(_PRESSED, timeout=self.act_ms):
            if FINAL.search(one["said"]) or one["submits"]:
                raise _Refused("This may publish or delete: only the program presses it. Request it.")
            if BINDS.search(one["said"]) and not await self._is_own(page, wish, found):
                raise _Refused("This may save, order or pay for something, and is not the step's own.")
            there = urlsplit(one["href"])
            if one["away"] or (there.scheme not in ("", "javascript") and there[:3] != here[:3]):
                raise _Refused("This leads away from the form.")
        for target in self.commits:
            for locator in page.locators_of(target):
                for other in (locator, locator.locator("xpath=ancestor-or-self::*"), locator.locator("*")):
                    if await other.and_(found).count():
                        raise _Refused("This publishes: only the program presses it. Request it.")
        if page.healing is None:
            return
        plain = impersonal(look, Target("", ()), page.healing.written)
        keys = {target.key for target in self.commits}
        layout = layout_of(page.url, None)
        for (key, where), known in page.healing.looks.items():
            if key in keys and where == layout and likeness(known, plain) >= ALIKE:
                raise _Refused("This looks like what publishes: only the program presses it. Request it.")

    # ---- what it learned ----

    def _forget(self, page: Page) -> None:
        if self._learned is not None and page.healing is not None:
            page.healing.forget(self._learned[1])
        self._learned = None

    async def _keep(self, page: Page, wish: Wish, came: Came) -> None:
        """What the last act of a step that it did found is how the target is found from now on: on trial."""
        if self._learned is None:
            return
        if came == "done":
            found, healed = self._learned
            await page.meet(wish.target, found, healed)
            log.info("target.healed", target=healed.target, by="agent", locator=healed.locator)
            self._learned = None
        else:
            self._forget(page)


# ---- parts ----------------------------------------------------------------------------------------


@asynccontextmanager
async def _process() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """It ends with the block, and whatever it started. Nothing of our environment is in its own."""
    from everystall.browser.session import living_folder  # which has pages, which ask an agent

    async with living_folder(Path(tempfile.gettempdir()), "evs-agent-") as made:
        folder = str(made)
        env = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8"}
        process = await asyncio.create_subprocess_exec(
            PYTHON, "-I", HOME / "agent.py", cwd=folder, env=env, start_new_session=True, limit=MOST_LINE,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout, process.stdin
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _marked(page: Page, cdp: Any, node: int, mark: str) -> Locator:
    """The element, by Playwright; raises _Refused."""
    with suppress(PlaywrightError):
        resolved = await cdp.send("DOM.resolveNode", {"backendNodeId": node})
        await cdp.send("Runtime.callFunctionOn", {
            "objectId": resolved["object"]["objectId"], "arguments": [{"value": mark}],
            "functionDeclaration": "function (mark) { this.setAttribute('evs-mark', mark); }",
        })  # fmt: skip
        for frame in page.raw.frames:
            found = frame.locator(f'[evs-mark="{mark}"]')
            if await found.count() == 1:
                return found
    raise _Refused("It is not on the page any more.")


async def _unmark(page: Page, mark: str) -> None:
    for frame in page.raw.frames:
        with suppress(PlaywrightError):
            await frame.locator(f'[evs-mark="{mark}"]').evaluate_all(
                "(all) => all.forEach((one) => one.removeAttribute('evs-mark'))"
            )


async def _may_tick(page: Page, wish: Wish, mark: str) -> None:
    for other in page.taken(wish.target):
        if await other.evaluate_all(_TICKS, mark):
            raise _Refused("This is as it should be already.")


async def _learn(page: Page, found: Locator, wish: Wish) -> tuple[Locator, Healed] | None:
    target = wish.target
    if page.healing is None or not target.heal:
        return None
    with suppress(PlaywrightError):
        return await page.healing.learn(
            page.raw, found, target, layout_of(page.url, target.frame), attached=wish.state == "attached",
            taken=page.taken(target),
        )  # fmt: skip
    return None


def _each_text(messages: Sequence[Mapping[str, Any]], change: Callable[[str], str]) -> list[dict[str, Any]]:
    """Of what is sent to a model only words are, each changed."""

    def changed(content: Any) -> Any:
        if isinstance(content, list):
            return [{"type": "text", "text": change(str(one["text"]))} for one in content
                    if one.get("type") == "text"]  # fmt: skip
        return change(str(content or ""))

    return [{"role": one["role"], "content": changed(one.get("content"))} for one in messages]


def _is_one_of(text: str, fields: Mapping[str, Any]) -> bool:
    """One of the values, as a form has it: "$25.00" and "25" are one price."""
    said = _plain(text)
    return bool(said) and any(said == _plain(value) for value in _values(fields))


def _values(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        if value.keys() == {"amount", "currency"}:
            yield f"{value['amount'] / 100:.2f}"
        else:
            for name, inner in value.items():
                yield from _values(inner)
                if name.endswith("weight_oz") and isinstance(inner, int):
                    yield from map(str, divmod(inner, 16))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _values(inner)
    elif isinstance(value, bool) or value is None:
        return
    else:
        yield str(value)


def _plain(text: str) -> str:
    number = re.fullmatch(r"\W{0,2}([\d,]+(?:\.\d+)?)", text.strip())
    return f"{float(number[1].replace(',', '')):g}" if number else " ".join(text.split()).casefold()
