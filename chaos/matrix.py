"""Which cells there are: verb x step x fault, what each may end as, and why one cannot occur. Pure.

A new verb is a line in VERBS (and its three functions in play.py); a new fault is a line in FAULTS and its
strike in faults.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

STEPS = (
    "claim", "open-session", "start-browser", "session-check", "baseline", "upload-photos", "fill", "arm",
    "click", "response", "read-back", "save", "notify",
)  # fmt: skip
#: A request to the marketplace (or of the webhook) belongs to these.
ASKING = (
    "session-check", "baseline", "upload-photos", "fill", "click", "response", "read-back", "notify",
)  # fmt: skip
#: A form is open: whoever saves it last has the last word, as with two tabs of a browser.
FORM = ("fill", "upload-photos", "arm", "click")
#: From here on somebody may have clicked.
CLICKED = ("click", "response", "read-back", "save", "notify")


@dataclass(frozen=True)
class Verb:
    #: What the publication ends as when all goes well.
    done: str
    #: Steps that it does not have, and why.
    lacks: Mapping[str, str] = field(default_factory=dict)
    #: Steps at which nothing of ours is at the marketplace yet.
    empty: tuple[str, ...] = ()


VERBS = {
    "publish": Verb(done="live", empty=STEPS[: STEPS.index("response")]),
    "revise": Verb(done="live"),
    "delist": Verb(
        done="ended",
        lacks={
            "session-check": "a take-down reads the listing's own page instead",
            "upload-photos": "a take-down has no form",
            "fill": "a take-down has no form",
            "arm": "a take-down may be repeated, so nothing is armed",
        },
    ),
}

#: Why a fault cannot strike at a step, by the kind of fault.
_NO_REQUEST = "no request is under way"
_NO_BROWSER = "there is no browser yet"
_NO_BROWSER_NOW = "no browser is needed for it"
_BEFORE_ONLY = "the marketplace has not been asked to commit: see click"
_AFTER_ONLY = "the marketplace has answered: see response"
_NOT_A_SITE = "the receiver of webhooks is no marketplace"
_ONLY_AT_RESPONSE = "shown by a lost answer, at response"
_ONLY_AT_CLICK = "only a click commits"
_NOT_THERE_YET = "nothing of ours is there yet"
_FOR_THE_WATCH = "comes after the reading: what happens later is for the watch"
_SETTLED = "it is settled by then"


@dataclass(frozen=True)
class Fault:
    label: str
    #: process, database, network, site, seller or clock
    kind: str
    #: Steps at which it cannot strike, and why.
    lacks: Mapping[str, str] = field(default_factory=dict)
    #: The only verbs that it is for; empty: all.
    verbs: tuple[str, ...] = ()
    #: Is it done to what is ours there?
    to_ours: bool = False


def _only(*steps: str, why: str) -> dict[str, str]:
    return {step: why for step in STEPS if step not in steps}


_ASKS = _only(*ASKING, why=_NO_REQUEST)
_BEFORE = _ASKS | {"response": _AFTER_ONLY}
_AFTER = _ASKS | {"click": _BEFORE_ONLY}
_PAGES = _ASKS | {"notify": _NOT_A_SITE, "upload-photos": "only pages show it", "click": "only pages show it"}
_BROWSER = {"claim": _NO_BROWSER, "open-session": _NO_BROWSER, "notify": _NO_BROWSER_NOW}

FAULTS = {
    "kill-worker": Fault("SIGKILL of the worker", "process"),
    "kill-chromium": Fault("SIGKILL of Chromium", "process", _BROWSER),
    "kill-all": Fault("SIGKILL of the worker and all that it started", "process"),
    "stop": Fault("SIGSTOP of the worker beyond its lease, then SIGCONT", "process"),
    "oom-renderer": Fault(
        "out of memory: the kernel takes the page's process", "process",
        _BROWSER | {"start-browser": "it has no page yet"},
    ),
    "oom-driver": Fault("out of memory: the kernel takes Playwright's driver", "process"),
    "pg-cut": Fault("PostgreSQL: all connections cut", "database"),
    "pg-restart": Fault("PostgreSQL: restarted, or crashed and recovered", "database"),
    "pg-read-only": Fault("PostgreSQL: read-only for 3 s", "database"),
    "pg-disk-full": Fault("PostgreSQL: disk full for 3 s", "database"),
    "net-refuse": Fault("connections refused for 2 s", "network", _BEFORE),
    "net-reset-before": Fault("reset before the request arrives", "network", _BEFORE),
    "net-reset-after": Fault("reset instead of the answer", "network", _AFTER),
    "net-500-before": Fault("HTTP 500, nothing done", "network", _BEFORE),
    "net-500-after": Fault("HTTP 500, and it is done", "network", _AFTER),
    "net-stall": Fault("no answer for 6 s, then cut", "network", _BEFORE),
    "net-truncate": Fault("half of the answer", "network", _AFTER),
    "net-late": Fault(
        "HTTP 504 now, done seconds later", "network", _only("click", why=_ONLY_AT_CLICK)
    ),
    "session-expired": Fault("signed out at the marketplace", "site", _ASKS | {"notify": _NOT_A_SITE}),
    "captcha": Fault("a captcha on every page", "site", _PAGES),
    "login-wall": Fault("the sign-in page instead of every page", "site", _PAGES),
    "changed-page": Fault(
        "pages changed: names, words, order, steps", "site", _ASKS | {"notify": _NOT_A_SITE}
    ),
    "soft-reject": Fault(
        "a post is kept for a review, a change is refused", "site", _only("click", why=_ONLY_AT_CLICK),
        verbs=("publish", "revise"),
    ),
    **{
        f"stale-{seconds}": Fault(
            f"answer lost, lists {seconds} s behind", "site", _only("response", why=_ONLY_AT_RESPONSE),
            verbs=("publish",),
        )
        for seconds in ("0", "0.2", "2", "20")
    },
    "seller-same": Fault(
        "the seller does the same by hand", "seller", {"notify": _SETTLED, "save": _FOR_THE_WATCH}
    ),
    "seller-deletes": Fault(
        "the seller deletes it", "seller", {"save": _FOR_THE_WATCH, "notify": _FOR_THE_WATCH},
        verbs=("publish", "revise"), to_ours=True,
    ),
    "seller-edits": Fault(
        "the seller edits it", "seller", {"save": _FOR_THE_WATCH, "notify": _FOR_THE_WATCH},
        verbs=("publish", "revise"), to_ours=True,
    ),
    "clock-ahead": Fault("the worker's clock jumps an hour ahead", "clock"),
    "clock-behind": Fault("the worker's clock jumps an hour back", "clock"),
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    verb: str
    step: str
    fault: str

    @property
    def name(self) -> str:
        return f"{self.verb}/{self.step}/{self.fault}"

    @property
    def cannot(self) -> str | None:
        """Why it cannot occur."""
        verb, fault = VERBS[self.verb], FAULTS[self.fault]
        if fault.to_ours and self.step in verb.empty:
            return _NOT_THERE_YET
        return verb.lacks.get(self.step) or fault.lacks.get(self.step)

    def allows(self, outcome: str, *, really_live: bool) -> bool:
        """May it end so? `really_live`: the ledger shows ours for sale. The seller is asked only about what
        nobody could know, or what only the seller can do."""
        if outcome == VERBS[self.verb].done:
            return self.fault != "soft-reject"
        asked = outcome.removeprefix("needs_you:")
        if asked == outcome:
            return False
        if asked == "unresolved" and self.verb == "publish" and self.step in CLICKED:
            return not really_live or self.fault in ("stale-20", "net-late")
        return asked in _ASKED.get(f"{self.verb}/{self.fault}", _ASKED.get(self.fault, ()))


#: What a fault (of one verb) may make us ask, besides what became of a click. A change may be made twice, so
#: that nothing is asked about its click.
_ASKED = {
    "session-expired": ("session_expired",),
    "login-wall": ("session_expired",),
    "captcha": ("challenge",),
    "changed-page": ("page_changed",),
    "soft-reject": ("not_published", "unresolved"),
    "revise/soft-reject": ("listing_rejected",),
    "seller-deletes": ("gone",),
    "revise/seller-edits": ("edited_there",),
}


def cells() -> Iterator[Cell]:
    """All of them, those that cannot occur too."""
    for verb in VERBS:
        for step in STEPS:
            for fault, its in FAULTS.items():
                if not its.verbs or verb in its.verbs:
                    yield Cell(verb, step, fault)
