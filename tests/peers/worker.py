"""A worker with PostHog's Python SDK, for the tests of mixed fleets and for scripts/compare-sdks.

Shares its flag definitions as PostHog documents it: a provider over Redis after the pattern of the example that the page on
distributed environments points to (examples/redis_flag_cache.py of posthog-python), with a client as that example makes it.
The TTL of the lock is an option here; the example has 60 s. The worker speaks the lines of tests/fleet_rules/protocol.rs, and
takes the order {"evaluate": "<key of a flag>"} too.
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

# Drops the SDK's warnings about the test's flags and about its own methods.
logging.disable(logging.CRITICAL)
warnings.simplefilter("ignore")

ASSIGNMENT = json.loads(os.environ["FLAGCACHE_TEST_ASSIGNMENT"])

speaking = threading.Lock()


def say(event, **more):
    at = time.time_ns()
    line = {"at": {"secs": at // 10**9, "nanos": at % 10**9}, "event": event, **more}
    with speaking:
        print("@" + json.dumps(line), flush=True)


class RedisFlagCache:
    """The four methods of FlagDefinitionCacheProvider."""

    COPY_LIFE_SECONDS = 24 * 60 * 60

    # Takes the lock if it is free, or renews it if it is this worker's.
    LEAD = """
        local holder = redis.call('GET', KEYS[1])
        if not holder then
            redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
            return 1
        end
        if holder == ARGV[1] then
            redis.call('PEXPIRE', KEYS[1], ARGV[2])
            return 1
        end
        return 0
    """
    RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

    def __init__(self, client, service, lock_ttl_ms):
        self.redis = client
        self.data = f"posthog:flags:{service}"
        self.lock = f"posthog:flags:{service}:lock"
        self.lock_ttl_ms = lock_ttl_ms
        self.token = f"python-{uuid.uuid4()}"
        self.lead = client.register_script(self.LEAD)
        self.release = client.register_script(self.RELEASE)
        self.reporter = Reporter()

    def should_fetch_flag_definitions(self):
        leads = self.lead(keys=[self.lock], args=[self.token, self.lock_ttl_ms]) == 1
        self.reporter.decided(leads)
        return leads

    def get_flag_definitions(self):
        copy = self.redis.get(self.data)
        if not copy:
            return None
        data = json.loads(copy)
        self.reporter.loaded(data, "cache")
        return data

    def on_flag_definitions_received(self, data):
        self.redis.set(self.data, json.dumps(data), ex=self.COPY_LIFE_SECONDS)
        self.reporter.loaded(data, "api")

    def shutdown(self):
        self.release(keys=[self.lock], args=[self.token])


class Reporter:
    """Reports the calls of the provider to the test, and changes nothing. Definitions are reported by their number of flags."""

    def __init__(self):
        self.decisions = 0
        self.role = None
        self.flags = None

    def decided(self, leads):
        self.decisions += 1
        role = "leader" if leads else "follower"
        if role != self.role:
            self.role = role
            say("status", role=role, state="ready")

    def loaded(self, data, source):
        flags = data.get("flags") if isinstance(data, dict) else None
        flags = len(flags) if isinstance(flags, list) else 0
        if flags != self.flags:
            self.flags = flags
            say("change", flags=flags, etag=None, source=source)


if ASSIGNMENT["waits_to_begin"]:
    say("prepared")
    assert json.loads(sys.stdin.readline()) == "begin"

cache = RedisFlagCache(
    redis.Redis.from_url(ASSIGNMENT["redis"], decode_responses=True),
    ASSIGNMENT["service"],
    ASSIGNMENT["lock_ttl_ms"],
)
client = Posthog(
    ASSIGNMENT["project_key"],
    host=ASSIGNMENT["api"],
    secret_key=ASSIGNMENT["secret_key"],
    poll_interval=ASSIGNMENT["interval_ms"] / 1000,
    flag_definition_cache_provider=cache,
    send=False,
)


def shut_down(*_):
    client.shutdown()
    say("shut_down", error=None)
    os._exit(0)


def obey():
    for line in sys.stdin:
        order = json.loads(line)
        if order == "count":
            say("counted", loads=cache.reporter.decisions, requests=0)
        elif "evaluate" in order:
            key = order["evaluate"]
            value = client.get_feature_flag(key, "user-1", only_evaluate_locally=True, send_feature_flag_events=False)
            say("evaluated", key=key, value=value)
    # The test has ended.
    os._exit(0)


def load():
    client.load_feature_flags()
    while not client.feature_flags:
        time.sleep(0.01)
    say("ready")


signal.signal(signal.SIGTERM, shut_down)
say("started")
threading.Thread(target=obey, daemon=True).start()
threading.Thread(target=load, daemon=True).start()
while True:
    signal.pause()
