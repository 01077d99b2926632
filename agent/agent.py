"""A browser-use agent as a process, for one step that a playbook could not do (everystall/browser/agent.py).

It reads the page over CDP and says what to do: each act, each question to the model and the end of it are
asked of the worker, a line of JSON each way. It holds no key, reaches nothing but the browser, and has no
tool that acts by itself.

    → {"cdp_url", "target_id", "task", "rules", "steps"}
    ← {"do": "ready"}                                            once it is attached
    ← {"do": "model", "messages", "schema"}                      → {"text", "tokens_in", "tokens_out"}
    ← {"do": "press" | "write" | "choose" | "upload_photos", "node"}      → {"said", "wrong"}
    ← {"do": "request_publish", "step_done"}                     → {"said", "wrong"}, or the end
    ← {"do": "end", "why", "refused": hosts it was kept from}
"""

import asyncio
import json
import os
import socket
import sys
from typing import Any
from urllib.parse import urlsplit

#: Its own limits are of 8 to 30 seconds, which a busy machine takes (load 40): the worker ends it in time.
SECONDS = {f"TIMEOUT_{what}Event": "600" for what in (
    "BrowserStart", "BrowserConnected", "TabCreated", "SwitchTab", "AgentFocusChanged", "BrowserStateRequest",
    "NavigationComplete", "Scroll", "ClickElement", "TypeText", "SelectDropdownOption", "UploadFile",
)}  # fmt: skip
#: Before anything of it is imported: no telemetry, no cloud, no news of versions, no settings of a person's.
SETTINGS = SECONDS | {
    "ANONYMIZED_TELEMETRY": "false", "BROWSER_USE_CLOUD_SYNC": "false", "BROWSER_USE_VERSION_CHECK": "false",
    "BROWSER_USE_CLOUD_HINTS": "false", "BROWSER_USE_DISABLE_EXTENSIONS": "1",
    "BROWSER_USE_SETUP_LOGGING": "false", "BROWSER_USE_CONFIG_DIR": os.path.join(os.getcwd(), "config"),
    "SKIP_LLM_API_KEY_VERIFICATION": "true",
    "PYTHON_DOTENV_DISABLED": "true",  # Everystall's .env is above it
}  # fmt: skip
#: Its own tools that act on nothing.
HARMLESS = ("done", "wait", "scroll")
#: What stands in a field: a seller's, perhaps.
VALUES = ("value", "valuetext", "valuenow", "aria-valuenow")
OURS = ("press", "write", "choose", "upload_photos", "request_publish")


class Worker:
    """Whoever started us: asked one thing at a time."""

    def __init__(self, reader: asyncio.StreamReader, out: int) -> None:
        self._reader, self._out, self._lock = reader, out, asyncio.Lock()

    def tell(self, **said: Any) -> None:
        line = memoryview(json.dumps(said).encode() + b"\n")
        while line:
            line = line[os.write(self._out, line) :]

    async def ask(self, **said: Any) -> dict[str, Any]:
        async with self._lock:
            self.tell(**said)
            return await self.hear()

    async def hear(self) -> dict[str, Any]:
        line = await self._reader.readline()
        if not line:
            os._exit(1)  # nobody is there any more
        return dict(json.loads(line))


class Model:
    """Whom the worker asks, as browser-use wants it: the worker has the key, and blots what is secret."""

    model = name = model_name = "everystall"
    provider = "openai"
    _verified_api_keys = True

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def ainvoke(self, messages: Any, output_format: Any = None, **_: Any) -> Any:
        from browser_use.llm.openai.serializer import OpenAIMessageSerializer
        from browser_use.llm.schema import SchemaOptimizer
        from browser_use.llm.views import ChatInvokeCompletion, ChatInvokeUsage

        said = await self._worker.ask(
            do="model",
            messages=OpenAIMessageSerializer.serialize_messages(messages),
            schema=output_format and SchemaOptimizer.create_optimized_json_schema(output_format),
        )
        text, given, made = said["text"], said["tokens_in"], said["tokens_out"]
        usage = ChatInvokeUsage(
            prompt_tokens=given, completion_tokens=made, total_tokens=given + made,
            prompt_cached_tokens=None, prompt_cache_creation_tokens=None, prompt_image_tokens=None,
        )  # fmt: skip
        answer = output_format.model_validate_json(text) if output_format else text
        return ChatInvokeCompletion(completion=answer, usage=usage)


class Ends(asyncio.StreamReaderProtocol):
    """With whoever started us, killed or not, whatever we wait for."""

    def eof_received(self) -> bool:
        os._exit(1)


def keep_in(host: str, port: int) -> set[str]:
    """From here on nothing but the browser is reached. Returns what was tried all the same."""
    refused: set[str] = set()

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.getaddrinfo", "socket.gethostbyname"):
            there, way = str(args[0]), str(args[1]) if len(args) > 1 else str(port)
        elif event in ("socket.connect", "socket.sendto") and args[0].family != socket.AF_UNIX:
            there, way = str(args[1][0]), str(args[1][1])
        else:
            return
        if there not in addresses or way not in (str(port), "None"):
            refused.add(there)
            raise ConnectionRefusedError(f"{there} is not the browser")

    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = {host, *(str(one[4][0]) for one in found)}
    ask = socket.getaddrinfo
    # a name that has many addresses keeps those
    socket.getaddrinfo = lambda there, way, *a, **more: (
        found if (there, str(way)) == (host, str(port)) else ask(there, way, *a, **more)
    )
    sys.addaudithook(watch)
    return refused


async def work(worker: Worker, task: dict[str, Any]) -> str:
    """Why it ended; the worker ends us itself once it is content."""
    from browser_use import ActionResult, Agent, BrowserSession, Tools
    from browser_use.browser.events import SwitchTabEvent
    from browser_use.browser.watchdogs.default_action_watchdog import DefaultActionWatchdog
    from browser_use.browser.watchdogs.dom_watchdog import DOMWatchdog
    from browser_use.dom.serializer.serializer import DOMTreeSerializer
    from browser_use.dom.views import DEFAULT_INCLUDE_ATTRIBUTES, NodeType

    serialize, attributes = DOMTreeSerializer.serialize_tree, DOMTreeSerializer._build_attributes_string

    def unfilled(node: Any, *args: Any, **more: Any) -> str:
        """Without what was typed into a field, or into a part of the page that is edited in place."""
        one = node and node.original_node.node_type == NodeType.TEXT_NODE and node.original_node
        while one:
            in_place = (one.attributes or {}).get("contenteditable", "false") != "false"
            if in_place or one.node_name.lower() in ("input", "textarea"):
                return ""
            one = one.parent_node
        return str(serialize(node, *args, **more))

    def valueless(node: Any, names: list[str], text: str) -> str:
        """It adds a field's value, whatever attributes are asked for. A button's is what it says."""
        if (node.attributes or {}).get("type") in ("button", "submit", "reset"):
            names = [*names, "value"]
        elif node.ax_node and node.ax_node.properties:
            node.ax_node.properties[:] = [one for one in node.ax_node.properties if one.name not in VALUES]
        return str(attributes(node, names, text))

    DOMTreeSerializer.serialize_tree = staticmethod(unfilled)
    DOMTreeSerializer._build_attributes_string = staticmethod(valueless)

    class OnePage(BrowserSession):
        """A browser that others work in, too: of its watchdogs only those that read and scroll. The others
        close tabs, answer dialogs with yes, download, and write cookies to the disk."""

        async def attach_all_watchdogs(self) -> None:
            if not self._watchdogs_attached:
                for kind in (DOMWatchdog, DefaultActionWatchdog):
                    kind.model_rebuild()
                    watchdog = kind(event_bus=self.event_bus, browser_session=self)
                    watchdog.attach_to_session()
                    if kind is DOMWatchdog:
                        self._dom_watchdog = watchdog
                    else:
                        self._default_action_watchdog = watchdog
                self._watchdogs_attached = True

        async def get_browser_state_summary(self, *_: Any, **__: Any) -> Any:
            return await super().get_browser_state_summary(include_screenshot=False)

        async def get_tabs(self) -> list[Any]:
            return [tab for tab in await super().get_tabs() if tab.target_id == task["target_id"]]

    built_in = list(Tools().registry.registry.actions)
    tools = Tools(exclude_actions=[name for name in built_in if name not in HARMLESS])

    async def act(do: str, index: int, session: Any) -> Any:
        node = await session.get_element_by_index(index)
        if node is None or node.target_id not in (None, task["target_id"]):
            return ActionResult(error=f"There is no element {index} on the page.")
        return heard(await worker.ask(do=do, node=node.backend_node_id))

    def heard(said: dict[str, Any]) -> Any:
        if said["wrong"]:
            return ActionResult(error=said["said"])
        return ActionResult(extracted_content=said["said"], include_in_memory=True)

    @tools.action("Press an element: a button, a choice, a checkbox. Never what publishes.")
    async def press(index: int, browser_session: BrowserSession) -> ActionResult:
        return await act("press", index, browser_session)

    @tools.action("Write the step's value into its field, in place of what that holds.")
    async def write(index: int, browser_session: BrowserSession) -> ActionResult:
        return await act("write", index, browser_session)

    @tools.action("Choose the step's value in its select.")
    async def choose(index: int, browser_session: BrowserSession) -> ActionResult:
        return await act("choose", index, browser_session)

    @tools.action("Give all of the listing's photos to a file field.")
    async def upload_photos(index: int, browser_session: BrowserSession) -> ActionResult:
        return await act("upload_photos", index, browser_session)

    @tools.action(
        "Hand the form back: the program goes on, reads all of it back and publishes by itself. step_done: "
        "you did the step; false: you only cleared the way to it.",
        terminates_sequence=True,
    )
    async def request_publish(step_done: bool) -> ActionResult:
        return heard(await worker.ask(do="request_publish", step_done=step_done))

    browser = OnePage(
        cdp_url=task["cdp_url"], is_local=True, keep_alive=True, highlight_elements=False,
        enable_default_extensions=False, captcha_solver=False,
    )  # fmt: skip
    await browser.start()
    await browser.event_bus.dispatch(SwitchTabEvent(target_id=task["target_id"]))
    worker.tell(do="ready")
    agent = Agent(
        task["task"], Model(worker), browser=browser, tools=tools, flash_mode=True, use_vision=False,
        use_judge=False, directly_open_url=False, enable_signal_handler=False, max_actions_per_step=3,
        max_failures=task["steps"], calculate_cost=False, message_compaction=False, available_file_paths=[],
        file_system_path=os.getcwd(), extend_system_message=task["rules"],
        include_attributes=[name for name in DEFAULT_INCLUDE_ATTRIBUTES if name not in VALUES],
    )  # fmt: skip
    kept = set(tools.registry.registry.actions)
    if kept != {*HARMLESS, *OURS}:
        raise RuntimeError(f"tools that were not asked for: {sorted(kept)}")
    history = await agent.run(max_steps=task["steps"])
    return history.final_result() or "; ".join(filter(None, history.errors())) or "no more steps"


async def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no line of ours
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: Ends(reader), sys.stdin)
    worker = Worker(reader, out)
    task = await worker.hear()
    there = urlsplit(task["cdp_url"])
    refused = keep_in(there.hostname or "", there.port or (443 if there.scheme in ("wss", "https") else 80))
    try:
        why = await work(worker, task)
    except Exception as e:
        why = f"{type(e).__name__}: {e}"
    worker.tell(do="end", why=why[:500], refused=sorted(refused))
    os._exit(0)


if __name__ == "__main__":
    os.environ.update(SETTINGS)
    asyncio.run(main())
