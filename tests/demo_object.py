"""Checks the object that `davy demo --json` prints: every field is there, and nothing was lost."""

import json
import sys

figures = json.load(open(sys.argv[1], encoding="utf-8"))
above_zero = ["samples", "points", "rules", "alarms_raised", "alarms_cleared", "notifications_delivered",
              "latency_p50_ms", "latency_p99_ms", "webhook_messages", "mqtt_messages", "alarms_acknowledged"]
wrong = [f"{name} is {figures.get(name)}, expected above 0" for name in above_zero if not figures.get(name, 0) > 0]
if figures.get("points", 0) < 60:
    wrong.append(f"points is {figures.get('points')}, expected at least 60")
if figures.get("lost") != 0:
    wrong.append(f"lost is {figures.get('lost')}, expected 0")
for line in wrong:
    print(f"demo: {line}", file=sys.stderr)
sys.exit(1 if wrong else 0)
