"""Evaluates flags with PostHog's Python SDK: a line of JSON in, one out. Nothing goes over the network.

In: {"definitions": …, "keys": […], "subjects": [{"id", "device", "properties", "groups", "group_properties"}]}.
Out: for each subject a list with the value of each key, null where the SDK has none locally.
"""

import json
import logging
import sys

from posthog import Posthog

logging.disable(logging.CRITICAL)
client = Posthog("phc_differential", host="http://127.0.0.1:9", sync_mode=True, disabled=False)

for line in sys.stdin:
    task = json.loads(line)
    definitions = task["definitions"]
    client._update_flag_state({"group_type_mapping": {}, "cohorts": {}, **definitions})
    answers = []
    for subject in task["subjects"]:
        person, groups = client._add_local_person_and_group_properties(
            subject["groups"], subject["properties"], subject["group_properties"]
        )
        values = []
        for key in task["keys"]:
            try:
                value, _ = client._locally_evaluate_flag(
                    key, subject["id"], subject["groups"], person, groups, subject["device"]
                )
            except RecursionError:
                value = None
            values.append(value)
        answers.append(values)
    print(json.dumps(answers), flush=True)
