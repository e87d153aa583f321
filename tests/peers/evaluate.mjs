// Evaluates flags with PostHog's Node SDK, as evaluate.py does with the Python one.
import { createInterface } from 'node:readline'
import { createRequire } from 'node:module'
import { join } from 'node:path'

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
      if (flag !== undefined) {
        const context = poller.createEvaluationContext(subject.id, subject.groups, properties, groupProperties)
        try {
          value = (await poller.computeFlagAndPayloadLocally(flag, context, { skipLoadCheck: true })).value
        } catch {}
      }
      values.push(value ?? null)
    }
    answers.push(values)
  }
  console.log(JSON.stringify(answers))
}
process.exit(0)
