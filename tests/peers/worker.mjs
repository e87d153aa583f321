// A worker with PostHog's Node SDK, for the tests of mixed fleets and for scripts/compare-sdks.
//
// Shares its flag definitions as PostHog documents it: a provider over Redis after the pattern of the example that the page
// on distributed environments points to (it is in Python: examples/redis_flag_cache.py of posthog-python), with a client as
// node-redis makes it. The TTL of the lock is an option here; the example has 60 s. The worker speaks the lines of
// tests/fleet_rules/protocol.rs, and takes the order {"evaluate": "<key of a flag>"} too.

import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const assignment = JSON.parse(process.env.FLAGCACHE_TEST_ASSIGNMENT)
// The packages are not installed beside this file.
const require = createRequire(assignment.packages + '/')
const { PostHog } = require('posthog-node')
const { createClient } = require('redis')

// Drops the SDK's warnings about the test's flags and about its own methods.
console.warn = console.error = () => {}

function say(event, more = {}) {
  const now = performance.timeOrigin + performance.now()
  const at = { secs: Math.floor(now / 1000), nanos: Math.floor((now % 1000) * 1e6) }
  console.log('@' + JSON.stringify({ at, event, ...more }))
}

const COPY_LIFE_SECONDS = 24 * 60 * 60

// Takes the lock if it is free, or renews it if it is this worker's.
const LEAD = `
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
`
const RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

// The four methods of FlagDefinitionCacheProvider.
class RedisFlagCache {
  constructor(redis, service, lockLifeMs) {
    this.redis = redis
    this.data = `posthog:flags:${service}`
    this.lock = `posthog:flags:${service}:lock`
    this.lockLifeMs = lockLifeMs
    this.token = `node-${randomUUID()}`
    this.reporter = new Reporter()
  }

  async shouldFetchFlagDefinitions() {
    const lead = { keys: [this.lock], arguments: [this.token, String(this.lockLifeMs)] }
    const leads = (await this.redis.eval(LEAD, lead)) === 1
    this.reporter.decided(leads)
    return leads
  }

  async getFlagDefinitions() {
    const copy = await this.redis.get(this.data)
    if (!copy) return undefined
    const data = JSON.parse(copy)
    this.reporter.loaded(data, 'cache')
    return data
  }

  async onFlagDefinitionsReceived(data) {
    await this.redis.set(this.data, JSON.stringify(data), { EX: COPY_LIFE_SECONDS })
    this.reporter.loaded(data, 'api')
  }

  async shutdown() {
    await this.redis.eval(RELEASE, { keys: [this.lock], arguments: [this.token] })
  }
}

// Reports the calls of the provider to the test, and changes nothing. Definitions are reported by their number of flags.
class Reporter {
  decisions = 0

  decided(leads) {
    this.decisions += 1
    const role = leads ? 'leader' : 'follower'
    if (role !== this.role) {
      this.role = role
      say('status', { role, state: 'ready' })
    }
  }

  loaded(data, source) {
    const flags = Array.isArray(data?.flags) ? data.flags.length : 0
    if (flags !== this.flags) {
      this.flags = flags
      say('change', { flags, etag: null, source })
    }
  }
}

const orders = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
if (assignment.waits_to_begin) {
  say('prepared')
  await orders.next()
}

const redis = createClient({ url: assignment.redis })
redis.on('error', () => {})
// Not waited for, so that a server that does not answer keeps no SDK from starting.
redis.connect().catch(() => {})
const cache = new RedisFlagCache(redis, assignment.service, assignment.lock_ttl_ms)
const client = new PostHog(assignment.project_key, {
  host: assignment.api,
  secretKey: assignment.secret_key,
  featureFlagsPollingInterval: assignment.interval_ms,
  flagDefinitionCacheProvider: cache,
})

process.on('SIGTERM', async () => {
  await client.shutdown()
  say('shut_down', { error: null })
  process.exit(0)
})

async function load() {
  while (!(await client.waitForLocalEvaluationReady(60_000)));
  say('ready')
}

say('started')
load()
for await (const line of orders) {
  const order = JSON.parse(line)
  if (order === 'count') {
    say('counted', { loads: cache.reporter.decisions, requests: 0 })
  } else if (order.evaluate) {
    const key = order.evaluate
    const value = await client.getFeatureFlag(key, 'user-1', { onlyEvaluateLocally: true, sendFeatureFlagEvents: false })
    say('evaluated', { key, value: value ?? null })
  }
}
// The test has ended.
process.exit(0)
