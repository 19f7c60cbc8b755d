"""A classifier and a metric of one's own, without editing the package."""

from pathlib import Path

import touchstone as ts

Path("conf/classifier").mkdir(parents=True, exist_ok=True)
Path("conf/classifier/complement_nb.yaml").write_text(
    """# python run.py classifier=complement_nb
defaults: [/schema/classifier@_here_: estimator, _self_]
name: complement_nb
target: sklearn.naive_bayes.ComplementNB
options: {alpha: 0.3}
features: tfidf
"""
)
Path("my_metrics.py").write_text(
    '''def specificity(true, predicted):
    """Share of test sentences without a category that get none."""
    negatives = [labels for truth, labels in zip(true, predicted) if not truth]
    return sum(not labels for labels in negatives) / len(negatives)
'''
)
results = ts.run(
    "mixture=gold,gold_bronze",
    "classifier=tfidf_logreg,complement_nb",
    "task.gold_patients=5",
    "metrics=[my_metrics.specificity]",
)
columns = ["mixture", "classifier", "test/macro_f1", "test/specificity"]
print(results.table[columns].round(3).to_string(index=False))
