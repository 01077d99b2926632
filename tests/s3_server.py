"""An S3 that others wrote (moto's server), for the tests of the photo store.

As a program it runs in the environment that `make` builds from requirements-s3.lock, since moto and
procrastinate want different versions of one package: makes a bucket and a user with keys, prints them as a
line of JSON, checks signatures and policies from then on, and ends when its standard input closes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PYTHON = Path(__file__).resolve().parent.parent / ".venv" / "s3" / "bin" / "python"
BUCKET = "photos"
_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass
class S3:
    """A running one. `stop()` and `start()` it as often as you like: what it held is gone then."""

    host: str = "127.0.0.1"
    port: int = 0
    key_id: str = ""
    key_secret: str = ""
    _process: subprocess.Popen[str] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def settings(self) -> dict[str, str]:
        """As environment variables of Everystall."""
        return {
            "PHOTOS_URL": f"s3://{BUCKET}/everystall",
            "PHOTOS_S3_ENDPOINT": self.endpoint,
            "PHOTOS_S3_KEY_ID": self.key_id,
            "PHOTOS_S3_KEY_SECRET": self.key_secret,
        }

    def start(self) -> None:
        if not PYTHON.exists():
            raise RuntimeError("there is no .venv/s3: run the tests by make, or `make .venv/s3-ready`")
        env = {
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": "setting-up",
            "AWS_SECRET_ACCESS_KEY": "setting-up",
            "AWS_DEFAULT_REGION": "us-east-1",
            "INITIAL_NO_AUTH_ACTION_COUNT": "4",  # those of _serve
        }
        self._process = subprocess.Popen(
            [PYTHON, __file__, self.host, str(self.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"moto's server did not start: {PYTHON} {__file__}")
        said = json.loads(line)
        self.port, self.key_id, self.key_secret = said["port"], said["id"], said["secret"]

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _serve(host: str, port: int) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(host, port, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    there = {"endpoint_url": f"http://{host}:{port}"}
    iam = boto3.client("iam", **there)
    iam.create_user(UserName="everystall")
    iam.put_user_policy(UserName="everystall", PolicyName="all", PolicyDocument=json.dumps(_POLICY))
    boto3.client("s3", **there).create_bucket(Bucket=BUCKET)
    key = iam.create_access_key(UserName="everystall")["AccessKey"]
    sys.stdout.write(json.dumps({"port": port, "id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}))
    sys.stdout.write("\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
