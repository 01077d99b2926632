"""Other services (ntfy, Telegram, Slack …) and mail, by apprise in a child process (carrier.py). A seller's
URL holds a token: it is never logged, and no error of ours quotes it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import sys
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from everystall.errors import ChannelRefused
from everystall.notify import webhooks
from everystall.notify.webhooks import Outcome
from everystall.settings import Settings

#: Seconds for all of it, from the child's start to its answer.
TIMEOUT_SECONDS: Final = 40.0
LONGEST_URL: Final = 2000
_CHILD: Final = Path(__file__).with_name("carrier.py")


@dataclass(frozen=True)
class Service:
    """One of apprise's: its label, and where its code is."""

    label: str
    module: str
    name: str
    #: The URL names a host of the seller's own.
    hosted: bool = False


def _both(scheme: str, service: Service) -> dict[str, Service]:
    return {scheme: service, f"{scheme}s": service}


#: By the URL's scheme. Only such as send by HTTP: what reaches for the machine itself is not among them.
SERVICES: Final[dict[str, Service]] = {
    **_both("ntfy", Service("ntfy", "ntfy", "NotifyNtfy", hosted=True)),
    **_both("gotify", Service("Gotify", "gotify", "NotifyGotify", hosted=True)),
    "tgram": Service("Telegram", "telegram", "NotifyTelegram"),
    "discord": Service("Discord", "discord", "NotifyDiscord"),
    "slack": Service("Slack", "slack", "NotifySlack"),
    "pover": Service("Pushover", "pushover", "NotifyPushover"),
    "pbul": Service("Pushbullet", "pushbullet", "NotifyPushBullet"),
    "prowl": Service("Prowl", "prowl", "NotifyProwl"),
    "join": Service("Join", "join", "NotifyJoin"),
    "spush": Service("SimplePush", "simplepush", "NotifySimplePush"),
    "pushed": Service("Pushed", "pushed", "NotifyPushed"),
    "zulip": Service("Zulip", "zulip", "NotifyZulip"),
    "gchat": Service("Google Chat", "google_chat", "NotifyGoogleChat"),
    "workflows": Service("Microsoft Teams", "workflows", "NotifyWorkflows"),
    "wxteams": Service("Webex", "webexteams", "NotifyWebexTeams"),
    "ifttt": Service("IFTTT", "ifttt", "NotifyIFTTT"),
    "line": Service("LINE", "line", "NotifyLine"),
    "threema": Service("Threema", "threema", "NotifyThreema"),
    "twilio": Service("Twilio", "twilio", "NotifyTwilio"),
    **_both("matrix", Service("Matrix", "matrix", "NotifyMatrix", hosted=True)),
    **_both("signal", Service("Signal", "signal_api", "NotifySignalAPI", hosted=True)),
    **_both("mmost", Service("Mattermost", "mattermost", "NotifyMattermost", hosted=True)),
    **_both("rocket", Service("Rocket.Chat", "rocketchat", "NotifyRocketChat", hosted=True)),
    **_both("bark", Service("Bark", "bark", "NotifyBark", hosted=True)),
    **_both("hassio", Service("Home Assistant", "home_assistant", "NotifyHomeAssistant", hosted=True)),
    **_both("nctalk", Service("Nextcloud Talk", "nextcloudtalk", "NotifyNextcloudTalk", hosted=True)),
    **_both("apprise", Service("Apprise API", "apprise_api", "NotifyAppriseAPI", hosted=True)),
    **_both("json", Service("JSON", "custom_json", "NotifyJSON", hosted=True)),
    **_both("form", Service("Form", "custom_form", "NotifyForm", hosted=True)),
    **_both("xml", Service("XML", "custom_xml", "NotifyXML", hosted=True)),
}


def service_of(url: str) -> Service:
    """Raises ChannelRefused for what is none of these."""
    scheme, there, _ = url.partition("://")
    service = SERVICES.get(scheme.lower()) if there else None
    if service is None:
        raise ChannelRefused("That is not the URL of a service that we know.")
    return service


def label_of(url: str) -> str:
    """What its seller knows it by: no token."""
    service = service_of(url)
    host = _host(url) if service.hosted else None
    return f"{service.label} · {host[:80]}" if host else service.label


async def check(url: str, settings: Settings) -> None:
    """Raises ChannelRefused for a URL that cannot be one, or leads where we do not send to; asks nobody."""
    if len(url) > LONGEST_URL or any(c.isspace() or ord(c) < 32 for c in url):
        raise ChannelRefused(f"A service's URL is one word of {LONGEST_URL} letters at most.")
    service = service_of(url)
    host = _host(url)
    if service.hosted and host is not None and _is_near(host) and not settings.webhook_allow_private:
        raise ChannelRefused(f"We do not send to {host[:80]}: it is this machine's or a private network's.")
    if await _carry({"do": "check", "url": url}, service, settings) != "usable":
        raise ChannelRefused(f"That is not a URL as {service.label} has it; something is missing in it.")


async def send(url: str, title: str, body: str, settings: Settings) -> Outcome:
    """To the seller's service. Raises nothing: whatever goes wrong is an outcome."""
    try:
        service = service_of(url)
    except ChannelRefused:
        return Outcome(None, "not_taken")
    return _outcome(await _carry({"do": "send", "url": url, "title": title, "body": body}, service, settings))


async def send_mail(address: str, title: str, body: str, settings: Settings) -> Outcome:
    """By the mail server. The environment's may be anywhere; one that an owner chose goes by the rules for
    sellers' services, but at any port."""
    if settings.smtp_url is None:
        return Outcome(None, "no_server")
    given = {**_mail_server(settings.smtp_url.get_secret_value()), "targets": [address]}
    request = {"do": "send", "title": title, "body": body, "given": given}
    mail = Service("E-mail", "email", "NotifyEmail")
    reach = "any"
    if "smtp_url" in settings.chosen:
        reach = "nearby" if settings.webhook_allow_private else "public"
    said = await _carry(request, mail, settings, reach=reach)
    return Outcome(None, "server_near") if said == "refused_address" else _outcome(said)


def check_mail_server(url: str, settings: Settings) -> None:
    """Of one that an owner chooses. Raises ChannelRefused for what is near as it is written; where its name
    leads is looked at when it is dialled."""
    host = urlsplit(url).hostname or ""
    if _is_near(host) and not settings.webhook_allow_private:
        raise ChannelRefused(
            f"{host[:80]} is this machine's or a private network's: who may write the environment sets "
            "SMTP_URL there."
        )


def _mail_server(url: str) -> dict[str, Any]:
    """apprise's own words for SMTP_URL."""
    parts = urlsplit(url)
    name, address = parseaddr(parse_qs(parts.query)["from"][0])
    secure = {"smtps": "ssl", "smtp": "starttls"}.get(parts.scheme, "insecure")
    return {
        "schema": "mailto", "host": parts.hostname, "smtp_host": parts.hostname, "port": parts.port,
        "user": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "secure": secure != "insecure", "secure_mode": secure, "format": "text",
        "from_addr": f"{name or 'Everystall'} <{address}>",
    }  # fmt: skip


def _outcome(said: str) -> Outcome:
    return Outcome(None, None if said == "sent" else said)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_near(host: str) -> bool:
    """As it is written; where a name leads is looked at when it is dialled."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not webhooks.PUBLIC.permits_address(str(ipaddress.ip_address(host)))
    except ValueError:
        return False


async def _carry(
    request: dict[str, Any], service: Service, settings: Settings, *, reach: str | None = None
) -> str:
    """The child's word; `timeout` or `broken` if it has none."""
    reach = reach or ("nearby" if settings.webhook_allow_private else "internet")
    whole = {**request, "module": service.module, "name": service.name, "reach": reach,
             "from": settings.public_url}  # fmt: skip
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_CHILD), env=keep, cwd="/", start_new_session=True,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            said, _ = await child.communicate(json.dumps(whole).encode())
        return str(json.loads(said)["outcome"])
    except TimeoutError:
        return "timeout"
    except (ValueError, KeyError, OSError):
        return "broken"
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
