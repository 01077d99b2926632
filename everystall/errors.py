"""Every failure that Everystall knows by name, and what becomes of it.

    EverystallError
    ├── Refused                  the caller's request cannot be done as it stands (4xx)
    │   ├── BadRequest  NotFound  NotAllowed  Unauthenticated  TooLarge  Conflict
    │   ├── ListingIncomplete  ListingLive  SessionMissing  WhichAccount  PhotoRefused
    │   ├── SignInFirst  LogInFailed  CrossSite  WrongHost
    │   ├── PairingUnknown  InvitationUnknown  LastOwner
    │   ├── WebhookRefused  WebhookDisabled  ChannelRefused
    │   ├── ImportRefused  ImportRunning
    │   ├── PricesChanged
    ├── SessionExpired (AnotherAccount)  ChallengeShown  AccountLimited      the seller must act
    ├── ListingRejected  NotPublished  EditedThere          the seller must act
    ├── PageChanged                                         a developer must fix
    ├── MarketplaceBusy (BrowserEnded)  DatabaseAway  RateLimited  ModelAway    passes by itself: tried again
    ├── StorageFull  StorageAway  PhotoMissing  BrowserNotStarted
    │                                                       the operator must act; tried again meanwhile
    ├── NoModel  ModelDenied                                the operator must act; all else goes on without
    ├── NotWanted  LeaseLost                                the step is dropped, nothing happened
    └── Misconfigured                                       the operator must act; start-up stops
        └── SealBroken

A failure carries its fate; no caller ever reads a message to decide what to do. A message never
holds a secret, a cookie or a path of the marketplace's with a token in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

#: retry: passes by itself, tried again later · seller: a person must act · developer: our map of the
#: site is wrong · operator: this installation is set up wrongly · drop: the step is no longer wanted
Fate = Literal["retry", "seller", "developer", "operator", "drop"]


class EverystallError(Exception):
    """Something went wrong inside Everystall."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    fate: ClassVar[Fate] = "developer"
    #: What the reader can do about it, one sentence; shown beside the message.
    action: str = "Try again; if it happens again, look at the log with this time."

    def __init__(self, message: str | None = None, *, action: str | None = None, **details: Any) -> None:
        self.message = message or (self.__doc__ or self.code).splitlines()[0]
        if action is not None:
            self.action = action
        #: More fields of the JSON answer (`missing`, `problems`, `actions`, …); never a secret.
        self.details: Mapping[str, Any] = details
        super().__init__(self.message)

    def as_json(self) -> dict[str, Any]:
        return {"error": self.code, "message": self.message, "action": self.action, **self.details}


# ---- the caller's request -------------------------------------------------------------------------


class Refused(EverystallError):
    """This request cannot be done as it stands."""

    code = "bad_request"
    status = 400
    fate = "seller"
    action = "Mend the request and send it again."


class BadRequest(Refused):
    """The request is malformed."""


class NotFound(Refused):
    """There is nothing of yours under that id."""

    code = "not_found"
    status = 404
    action = "Check the id; what belongs to another account is not shown either."


class Unauthenticated(Refused):
    """This needs an API token."""

    code = "unauthenticated"
    status = 401
    action = (
        "Send `Authorization: Bearer evs_…`. The account page makes one, and so does "
        "`everystall token create --email you@example.com`."
    )


class SignInFirst(Unauthenticated):
    """A page that only who is signed in may see: leads to the sign-in page and back."""

    def __init__(self, then: str) -> None:
        #: Where to go on afterwards: a path of ours.
        self.then = then
        super().__init__()


class NotAllowed(Refused):
    """This token may not do that."""

    code = "not_allowed"
    status = 403
    action = "Use a token with the scope that the message names."


class TooLarge(Refused):
    """That is more than we take."""

    code = "too_large"
    status = 413
    action = "Send less; the message says how much is taken."


class Conflict(Refused):
    """Something else changed that at the same moment."""

    code = "conflict"
    status = 409
    action = "Load it again and repeat what you did."


class PricesChanged(Conflict):
    """Something changed since you looked at what would become of these prices; nothing was done."""

    code = "prices_changed"
    action = "Look again with ?preview=true, and send the new `token`."


class BudgetSpent(Refused):
    """What the model may cost you this month is used up."""

    code = "budget_spent"
    status = 409
    action = "Wait for the next month, or ask whoever runs this installation for a larger MODEL_BUDGET_CENTS."


class AskedAlready(Conflict):
    """The model is being asked just that."""

    code = "asked_already"
    action = "Wait a minute, then load the page again: it costs nothing a second time."


class PhotoRefused(Refused):
    """That file is not a photo we can use."""

    code = "photo_refused"
    status = 422
    action = "Send a JPEG, HEIC, PNG, WebP, AVIF or GIF photo of at most 40 megapixels."


class ImportRefused(Refused):
    """That file can not be read as listings."""

    code = "import_refused"
    status = 422
    action = "Send a CSV file as it was exported, with its header line."


class ImportRunning(Refused):
    """Another file is being brought in."""

    code = "import_running"
    status = 409
    action = "Wait until the import named in `importId` is done, and send it again."


class BackupRefused(Refused):
    """That file cannot be restored."""

    code = "backup_refused"
    status = 422
    action = "Choose another backup; nothing was changed."


class ListingIncomplete(Refused):
    """The listing lacks something that a marketplace needs."""

    code = "listing_incomplete"
    status = 422
    action = "Fill in what `problems` names, per marketplace, and post again."


class ListingLive(Refused):
    """The listing is live somewhere."""

    code = "listing_live"
    status = 409
    action = "Send it with ?end=true to take it down everywhere first."


class SessionMissing(Refused):
    """There is no working sign-in for a marketplace."""

    code = "session_missing"
    status = 409
    action = "Sign in to the marketplaces named in `missing` and connect them again."


class WhichAccount(Refused):
    """The session does not say whose it is, and there is more than one account it could be."""

    code = "which_account"
    status = 409
    action = "Send it again with `browserProfileId` set to one of `connections`."


class LogInFailed(Refused):
    """Address and password do not belong together."""

    code = "log_in_failed"
    status = 401
    #: Says the same of an address that nobody has, and of too many tries: who guesses learns nothing.
    action = "Check both. After ten tries from one place none is looked at until 15 minutes are over."


class CodeNeeded(Refused):
    """The password is right; the code of your app is asked for too."""

    code = "code_needed"
    status = 401
    action = "Send it as `code`: the six digits that your app shows now, or one of your recovery codes."


class CodeWrong(LogInFailed):
    """That code is not good, or was used already."""

    code = "code_wrong"
    action = (
        "Wait for the next one that your app shows, and see that its clock is right; or use a recovery code. "
        "After ten tries from one place none is looked at until 15 minutes are over."
    )


class CodesRest(CodeWrong):
    """Too many wrong codes were given."""

    code = "codes_rest"
    action = (
        "Wait, or use a recovery code or a passkey. Was it not you? Then somebody knows your password: "
        "change it, where you are signed in."
    )


class PasskeyRefused(LogInFailed):
    """That passkey signs nobody in here."""

    code = "passkey_refused"
    action = "Try another one, or sign in with your password; it may have been removed from the account."


class ProviderRefused(LogInFailed):
    """The identity provider did not say who you are in a way that can be believed."""

    code = "provider_refused"
    action = "Try once more. If it goes on, whoever runs this Everystall finds why in its log."


class ProviderAway(EverystallError):
    """The identity provider does not answer, or not as one does."""

    code = "provider_away"
    status = 502
    fate = "retry"
    action = (
        "Try again in a minute, or sign in another way; whoever runs this Everystall finds why in its log."
    )


class SignInOver(Refused):
    """That sign-in was begun too long ago, or is done already."""

    code = "sign_in_over"
    status = 400
    action = "Begin again on the sign-in page."


class SignInAgain(Refused):
    """You have no password to prove that it is you, and signed in too long ago."""

    code = "sign_in_again"
    status = 403
    action = "Sign out and in again, then do it within ten minutes."


class CrossSite(Refused):
    """This request did not come from one of Everystall's own pages."""

    code = "cross_site"
    status = 403
    action = "Load the page again and repeat what you did; programs send a token instead of a cookie."


class WrongHost(Refused):
    """Everystall is not served under this host name."""

    code = "wrong_host"
    status = 421
    action = "Open it under the address of PUBLIC_URL, or set PUBLIC_URL to the address that you use."


class RateLimited(EverystallError):
    """Too many requests at once."""

    code = "rate_limited"
    status = 429
    fate = "retry"
    action = "Wait as many seconds as `Retry-After` says, then go on."

    def __init__(self, message: str | None = None, *, retry_after: int) -> None:
        #: Seconds until the next is taken.
        self.retry_after = retry_after
        seconds = "a second" if retry_after == 1 else f"{retry_after} seconds"
        super().__init__(message, action=f"Wait {seconds}, then go on.", retryAfter=retry_after)


class PairingUnknown(Refused):
    """This pairing code is not known (any more)."""

    code = "pairing_unknown"
    status = 404
    action = "Make a new code on the account page; each is good once, for ten minutes and five tries."


class InvitationUnknown(Refused):
    """This link was used already, was taken back, is too old, or is not whole."""

    code = "invitation_unknown"
    status = 404
    action = (
        "You made your account with it? Then sign in. Else ask whoever invited you for a new link; for the "
        "first start's, start Everystall again."
    )


class LastOwner(Refused):
    """You are the only owner, and others have accounts here."""

    code = "last_owner"
    status = 409
    action = "Invite another owner and wait until they accepted, or have the others delete theirs first."


class WebhookRefused(Refused):
    """That webhook is not one that we can send to."""

    code = "webhook_refused"
    status = 422
    action = (
        "Give an https address that the whole Internet can reach. To send within a network of their own, "
        "whoever runs Everystall sets WEBHOOK_ALLOW_PRIVATE."
    )


class WebhookDisabled(Refused):
    """This webhook is disabled."""

    code = "webhook_disabled"
    status = 409
    action = "Mend the receiver, then enable the webhook."


class ChannelRefused(Refused):
    """That is not a way to tell you anything."""

    code = "channel_refused"
    status = 422
    action = "Look at docs/notifications.md for how it is written; nothing was kept."


# ---- what a marketplace did -----------------------------------------------------------------------


class SessionExpired(EverystallError):
    """The marketplace no longer knows this sign-in."""

    code = "session_expired"
    status = 409
    fate = "seller"
    action = "Sign in to the marketplace again and connect it."


class AnotherAccount(SessionExpired):
    """This session is signed in to another account than the one it was handed over for."""


class ChallengeShown(EverystallError):
    """The marketplace asks for a person (captcha, code by mail, security check)."""

    code = "challenge"
    status = 409
    fate = "seller"
    action = "Open the marketplace, answer its check, then press Retry."


class AccountLimited(EverystallError):
    """The marketplace does not let this account do that now."""

    code = "account_limited"
    status = 409
    fate = "seller"
    action = "Read what the marketplace says on its own page, then press Retry."


class ListingRejected(EverystallError):
    """The marketplace refused the listing."""

    code = "listing_rejected"
    status = 422
    fate = "seller"
    action = "Mend what the marketplace names, then press Retry."


class EditedThere(EverystallError):
    """The seller changed the same field on the marketplace and here."""

    code = "edited_there"
    status = 409
    fate = "seller"


class NotPublished(EverystallError):
    """The marketplace kept the listing as a draft, or for review, and did not publish it."""

    code = "not_published"
    status = 409
    fate = "seller"
    action = "Open the marketplace and see what it asks for, then press Retry."


class PageChanged(EverystallError):
    """The marketplace's page is not the one we know."""

    code = "page_changed"
    status = 502
    fate = "developer"
    action = "Nothing was posted. Run `everystall doctor`, or post this one by hand meanwhile."


class MarketplaceBusy(EverystallError):
    """The marketplace does not answer, answers slowly or asks us to wait."""

    code = "marketplace_busy"
    status = 503
    fate: ClassVar[Fate] = "retry"
    action = "Nothing to do: it is tried again by itself."

    def __init__(self, message: str | None = None, *, retry_after: float | None = None, **details: Any):
        super().__init__(message, **details)
        #: Seconds that the marketplace asked us to wait, if it said.
        self.retry_after = retry_after


class BrowserEnded(MarketplaceBusy):
    """Everystall's own browser ended while it worked."""

    code = "browser_ended"
    fate = "operator"
    action = (
        "Whoever runs Everystall gives its machine more memory, or lets fewer visits run at once "
        "(WORKER_VISITS)."
    )


# ---- inside ---------------------------------------------------------------------------------------


class NotWanted(EverystallError):
    """What was wanted changed before the click; nothing was clicked."""

    code = "not_wanted"
    status = 409
    fate = "drop"


class LeaseLost(EverystallError):
    """Another worker has this account now; nothing more is done here."""

    code = "lease_lost"
    status = 409
    fate = "drop"


class StorageFull(EverystallError):
    """There is no room to store this."""

    code = "storage_full"
    status = 507
    fate = "operator"
    action = "Make room where EVERYSTALL_HOME or PHOTOS_URL points, then send it again; nothing was stored."


class StorageAway(EverystallError):
    """The photo store does not answer."""

    code = "storage_away"
    status = 503
    fate = "operator"
    action = "It is tried again by itself; whoever runs this installation looks whether the store is up."


class PhotoMissing(EverystallError):
    """The photo store of this process does not have that photo, though it was stored."""

    code = "photo_missing"
    status = 503
    fate = "operator"
    action = (
        "Whoever runs this installation gives every web and worker the same PHOTOS_URL, and brings the "
        "photos that lie elsewhere there; nothing was posted or lost."
    )


class BrowserNotStarted(EverystallError):
    """Everystall's own browser did not start: its machine is too slow, or short of memory."""

    code = "browser_not_started"
    status = 503
    fate = "operator"
    action = (
        "Whoever runs Everystall gives its machine more memory, or lets fewer visits run at once "
        "(WORKER_VISITS); `everystall doctor` says whether Chromium starts, the worker's log why it did not "
        "(browser.not_started)."
    )


class DatabaseAway(EverystallError):
    """The database does not answer."""

    code = "database_away"
    status = 503
    fate = "retry"
    action = "Try again in a moment; nothing was changed."


class NoModel(EverystallError):
    """No language model is set up here."""

    code = "no_model"
    status = 409
    fate = "operator"
    action = "Whoever runs this installation sets OPENROUTER_API_KEY; all else works without."


class ModelDenied(EverystallError):
    """OpenRouter does not take this installation's key, or its credit is used up."""

    code = "model_denied"
    status = 503
    fate = "operator"
    action = "Whoever runs this installation looks at OPENROUTER_API_KEY and at its credit."


class ModelAway(EverystallError):
    """The language model does not answer, or not usably."""

    code = "model_away"
    status = 503
    fate = "retry"
    action = "Try again in a minute; nothing was changed."

    def __init__(self, message: str | None = None, *, why: str = "", **details: Any):
        super().__init__(message, **details)
        #: For the log: a status or the name of an error.
        self.why = why
        #: Millionths of a dollar that it cost all the same; None: nobody knows.
        self.cost: int | None = None


class Misconfigured(EverystallError):
    """This installation is set up wrongly."""

    code = "misconfigured"
    status = 500
    fate = "operator"
    action = "Run `everystall doctor`."


class SealBroken(Misconfigured):
    """A sealed row does not open: it was changed outside Everystall, or the key is another."""

    code = "seal_broken"
    action = "Run `everystall keys verify`; the seller can connect the account again meanwhile."


def listed(words: Sequence[str]) -> str:
    """`["a", "b", "c"]` → "a, b and c", for messages."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
