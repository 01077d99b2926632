"""A whole form by browser-use as it comes, for `make bench-agent`: with its own tools. Only the
model is asked of whoever started it, by lines of JSON as agent.py has them.

    → {"cdp_url", "target_id", "task", "files", "steps"}
    ← {"do": "model", "messages", "schema"}      → {"text", "tokens_in", "tokens_out"}
    ← {"do": "end", "why"}
"""

import asyncio
import json
import os
import sys
from typing import Any

from agent import SETTINGS, Model, Worker

os.environ.update(SETTINGS)


async def work(worker: Worker, task: dict[str, Any]) -> str:
    from browser_use import Agent, BrowserSession
    from browser_use.browser.events import SwitchTabEvent

    browser = BrowserSession(
        cdp_url=task["cdp_url"], is_local=True, keep_alive=True, highlight_elements=False,
        enable_default_extensions=False, captcha_solver=False,
    )  # fmt: skip
    await browser.start()
    await browser.event_bus.dispatch(SwitchTabEvent(target_id=task["target_id"]))
    agent = Agent(
        task["task"], Model(worker), browser=browser, use_vision=False, use_judge=False,
        directly_open_url=False, enable_signal_handler=False, calculate_cost=False,
        available_file_paths=task["files"], file_system_path=os.getcwd(),
    )  # fmt: skip
    history = await agent.run(max_steps=task["steps"])
    return history.final_result() or "; ".join(filter(None, history.errors())) or "no more steps"


async def main() -> None:
    out = os.dup(1)
    os.dup2(2, 1)
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    worker = Worker(reader, out)
    try:
        why = await work(worker, json.loads(await reader.readline()))
    except Exception as e:
        why = f"{type(e).__name__}: {e}"
    worker.tell(do="end", why=why[:300])
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
