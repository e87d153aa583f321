// Evaluates flags with PostHog's Node SDK, as evaluate.py does with the Python one. An answer is {"value": …, "messages": […]}
// with the messages of all errors that the SDK made on the way.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { join } from 'node:path'

// The SDK replaces an error by a general one in several places; its classes extend this one, which keeps all messages.
let messages = []
globalThis.Error = class extends Error {
  constructor(...args) {
    super(...args)
    messages.push(this.message)
  }
}

const { FeatureFlagsPoller } = createRequire(import.meta.url)(
  join(process.argv[2], 'node_modules/posthog-node/dist/extensions/feature-flags/feature-flags.js')
)

const poller = new FeatureFlagsPoller({
  pollingInterval: null,
  personalApiKey: 'none',
  projectApiKey: 'none',
  host: 'http://127.0.0.1:9',
  fetch: async () => ({ status: 304, headers: { get: () => undefined } }),
})

for await (const line of createInterface({ input: process.stdin })) {
  const task = JSON.parse(line)
  poller.updateFlagState({ group_type_mapping: {}, cohorts: {}, ...task.definitions })
  const answers = []
  for (const subject of task.subjects) {
    const properties = { ...subject.properties }
    if (subject.device) properties.$device_id = subject.device
    const groupProperties = {}
    for (const [type, key] of Object.entries(subject.groups)) {
      groupProperties[type] = { $group_key: key, ...subject.group_properties[type] }
    }
    const values = []
    for (const key of task.keys) {
      const flag = poller.featureFlagsByKey[key]
      let value = null
      messages = []
      if (flag !== undefined) {
        const context = poller.createEvaluationContext(subject.id, subject.groups, properties, groupProperties)
        try {
          value = (await poller.computeFlagAndPayloadLocally(flag, context, { skipLoadCheck: true })).value
        } catch (error) {
          if (!messages.includes(error.message)) messages.push(error.message)
        }
      }
      values.push({ value: value ?? null, messages })
    }
    answers.push(values)
  }
  console.log(JSON.stringify(answers))
}
process.exit(0)
