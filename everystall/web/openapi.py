"""`python -m everystall.web.openapi`: the API's description on standard output, as any installation serves it
at /openapi.json. Needs no database."""

from __future__ import annotations

import json
import sys

from everystall.settings import Settings
from everystall.web.app import create_app


def main() -> None:
    described = create_app(Settings(_env_file=None, everystall_root_path="")).openapi()
    json.dump(described, sys.stdout)


if __name__ == "__main__":
    main()
