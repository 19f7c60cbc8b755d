"""Which test sentences does bronze gain and lose?"""

import touchstone as ts

runs = ts.run("mixture=gold,gold_bronze", "task.gold_patients=5").runs.set_index("mixture")
before = ts.errors(runs.loc["gold", "run_id"]).set_index("example_id")
after = ts.errors(runs.loc["gold_bronze", "run_id"]).set_index("example_id")
gained = before.loc[before.index.difference(after.index)]
lost = after.loc[after.index.difference(before.index)]
print(f"gold_bronze gains {len(gained)} sentences and loses {len(lost)}")
print("\nGained, by category that gold had missed:")
print(gained["missed"].explode().value_counts().to_string())
print("\nLost, by category that is now given wrongly:")
print(lost["wrong"].explode().value_counts().to_string())
print("\nThe first three that are lost:")
for row in lost.head(3).itertuples():
    print(f"- {row.text}\n  experts: {row.true or 'none'}; predicted: {row.pred or 'none'}")
