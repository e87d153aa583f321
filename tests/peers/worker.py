"""A worker with PostHog's Python SDK, for the tests of mixed fleets.

Shares its flag definitions by the SDK's own interface, over the Redis keys that PostHog's examples use. It speaks the lines
of tests/fleet_rules/line.rs, and takes the order {"evaluate": "<key of a flag>"}.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
import uuid
import warnings

import redis
from posthog import Posthog

# What the SDK says of the test's flags and of its own methods is nobody's concern here.
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

ASSIGNMENT = json.loads(os.environ["FLAGCACHE_TEST_ASSIGNMENT"])
DATA = "posthog:flags:" + ASSIGNMENT["service"]
LOCK = DATA + ":lock"
LOCK_LIFE_MS = ASSIGNMENT["lock_life_ms"]

EXTEND = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"

speaking = threading.Lock()


def say(event, **more):
    at = time.time_ns()
    line = {"at": {"secs": at // 10**9, "nanos": at % 10**9}, "event": event, **more}
    with speaking:
        print("@" + json.dumps(line), flush=True)


class RedisFlagCache:
    """The four methods of FlagDefinitionCacheProvider."""

    def __init__(self):
        self.redis = redis.Redis.from_url(ASSIGNMENT["redis"], socket_timeout=5)
        self.token = "python-" + uuid.uuid4().hex
        self.role = None
        self.keys = None

    def should_fetch_flag_definitions(self):
        leads = bool(self.redis.set(LOCK, self.token, nx=True, px=LOCK_LIFE_MS)) or bool(
            self.redis.eval(EXTEND, 1, LOCK, self.token, LOCK_LIFE_MS)
        )
        role = "leader" if leads else "follower"
        if role != self.role:
            self.role = role
            say("status", role=role, state="ready")
        return leads

    def get_flag_definitions(self):
        copy = self.redis.get(DATA)
        if copy is None:
            return None
        data = json.loads(copy)
        self.loaded(data, "cache")
        return data

    def on_flag_definitions_received(self, data):
        self.redis.set(DATA, json.dumps(data), ex=300)
        self.loaded(data, "api")

    def shutdown(self):
        self.redis.eval(RELEASE, 1, LOCK, self.token)

    def loaded(self, data, source):
        keys = [flag["key"] for flag in data["flags"]]
        if keys != self.keys:
            self.keys = keys
            say("change", flags=len(keys), etag=None, source=source)


client = Posthog(
    ASSIGNMENT["project_key"],
    host=ASSIGNMENT["api"],
    secret_key=ASSIGNMENT["secret_key"],
    poll_interval=ASSIGNMENT["interval_ms"] / 1000,
    flag_definition_cache_provider=RedisFlagCache(),
    send=False,
)


def shut_down(*_):
    client.shutdown()
    say("shut_down", error=None)
    os._exit(0)


signal.signal(signal.SIGTERM, shut_down)
say("started")
client.load_feature_flags()
say("ready")


def obey():
    for line in sys.stdin:
        key = json.loads(line)["evaluate"]
        value = client.get_feature_flag(key, "user-1", only_evaluate_locally=True, send_feature_flag_events=False)
        say("evaluated", key=key, value=value)
    # The test has ended.
    os._exit(0)


threading.Thread(target=obey, daemon=True).start()
while True:
    signal.pause()
