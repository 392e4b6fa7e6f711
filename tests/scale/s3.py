"""A server that speaks S3 on 127.0.0.1 and asks for keys, for as long as a test needs it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import requests
from moto.server import ThreadedMotoServer

from tests.pipeline.faulty_server import HOST

EVERYTHING = """{
  "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
}"""
USER = "team"


@dataclass(frozen=True)
class Storage:
    """Where the server is, and the one pair of keys that it takes."""

    url: str
    key: str
    secret: str
    server: ThreadedMotoServer

    @property
    def keys(self) -> dict[str, str]:
        """The environment of whoever may read and write there."""
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}

    def client(self, service: str = "s3") -> Any:
        """A client with the keys."""
        return _client(service, self.url, self.key, self.secret)

    def objects(self, bucket: str) -> set[str]:
        """Names of all objects in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"] for page in pages for each in page.get("Contents", [])}


@contextlib.contextmanager
def s3_server() -> Iterator[Storage]:
    """A server without buckets."""
    server = ThreadedMotoServer(HOST, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        # What it knows is of its process, so of a server before this one, too.
        _tell(url, "reset")
        _tell(url, "reset-auth", "inf")
        iam = _client("iam", url, "any", "any")
        iam.create_user(UserName=USER)
        iam.put_user_policy(UserName=USER, PolicyName="all", PolicyDocument=EVERYTHING)
        made = iam.create_access_key(UserName=USER)["AccessKey"]
        _tell(url, "reset-auth", "0")  # from here on it looks at keys and signatures
        yield Storage(url, made["AccessKeyId"], made["SecretAccessKey"], server)
    finally:
        server.stop()


def _tell(url: str, what: str, data: str = "") -> None:
    requests.post(f"{url}/moto-api/{what}", data, timeout=10).raise_for_status()


def _client(service: str, url: str, key: str, secret: str) -> Any:
    return boto3.client(
        *(service, "us-east-1"),
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
