// A worker with PostHog's Node SDK, for the tests of mixed fleets.
//
// Shares its flag definitions by the SDK's own interface, over the Redis keys that PostHog's examples use. It speaks the
// lines of tests/fleet_rules/line.rs, and takes the order {"evaluate": "<key of a flag>"}.

import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const assignment = JSON.parse(process.env.FLAGCACHE_TEST_ASSIGNMENT)
// The packages are not installed beside this file.
const require = createRequire(assignment.packages + '/')
const { PostHog } = require('posthog-node')
const { createClient } = require('redis')

const DATA = `posthog:flags:${assignment.service}`
const LOCK = `${DATA}:lock`
const EXTEND = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
const RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"

// What the SDK says of the test's flags and of its own methods is nobody's concern here.
console.warn = () => {}

function say(event, more = {}) {
  const now = performance.timeOrigin + performance.now()
  const at = { secs: Math.floor(now / 1000), nanos: Math.floor((now % 1000) * 1e6) }
  console.log('@' + JSON.stringify({ at, event, ...more }))
}

class RedisFlagCache {
  constructor(redis) {
    this.redis = redis
    this.token = `node-${randomUUID()}`
  }

  async shouldFetchFlagDefinitions() {
    const life = assignment.lock_life_ms
    const leads =
      (await this.redis.set(LOCK, this.token, { NX: true, PX: life })) === 'OK' ||
      (await this.redis.eval(EXTEND, { keys: [LOCK], arguments: [this.token, String(life)] })) === 1
    const role = leads ? 'leader' : 'follower'
    if (role !== this.role) {
      this.role = role
      say('status', { role, state: 'ready' })
    }
    return leads
  }

  async getFlagDefinitions() {
    const copy = await this.redis.get(DATA)
    if (copy === null) return undefined
    const data = JSON.parse(copy)
    this.loaded(data, 'cache')
    return data
  }

  async onFlagDefinitionsReceived(data) {
    await this.redis.set(DATA, JSON.stringify(data), { EX: 300 })
    this.loaded(data, 'api')
  }

  async shutdown() {
    await this.redis.eval(RELEASE, { keys: [LOCK], arguments: [this.token] })
  }

  loaded(data, source) {
    const keys = JSON.stringify(data.flags.map((flag) => flag.key))
    if (keys !== this.keys) {
      this.keys = keys
      say('change', { flags: data.flags.length, etag: null, source })
    }
  }
}

const redis = createClient({ url: assignment.redis })
redis.on('error', () => {})
await redis.connect()
const client = new PostHog(assignment.project_key, {
  host: assignment.api,
  secretKey: assignment.secret_key,
  featureFlagsPollingInterval: assignment.interval_ms,
  flagDefinitionCacheProvider: new RedisFlagCache(redis),
})

process.on('SIGTERM', async () => {
  await client.shutdown()
  say('shut_down', { error: null })
  process.exit(0)
})
say('started')
await client.waitForLocalEvaluationReady(30_000)
say('ready')

for await (const line of createInterface({ input: process.stdin })) {
  const key = JSON.parse(line).evaluate
  const value = await client.getFeatureFlag(key, 'user-1', { onlyEvaluateLocally: true, sendFeatureFlagEvents: false })
  say('evaluated', { key, value: value ?? null })
}
// The test has ended.
process.exit(0)
