"""Any scikit-learn estimator and classes of the user's own as classifiers, for every kind of
task."""

import pickle

import numpy as np
import pytest

from touchstone.errors import UserError
from touchstone.models import build
from touchstone.schema import EstimatorConfig

TEXTS = ["forgets names", "forgets keys", "fell twice", "fell at home", "sleeps well", "eats well"]
TARGETS = {
    "binary": np.array([1, 1, 1, 1, 0, 0]),
    "relation": np.array([1, 1, 1, 1, 0, 0]),
    "multiclass": np.array([1, 1, 2, 2, 0, 0]),
    "multilabel": np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0], [0, 0]]),
}
N_CLASSES = {"binary": 2, "relation": 2, "multiclass": 3, "multilabel": 2}
RULES = '''
class Rules:
    """The label of the training sentence that shares the first word."""

    def __init__(self, default=0):
        self.default = default

    def fit(self, X, y):
        self.known = {text.split()[0]: label for text, label in zip(X, y)}

    def predict(self, X):
        return [self.known.get(text.split()[0], self.default) for text in X]


class Weighted(Rules):
    def fit(self, X, y, sample_weight=None):
        self.weights = sample_weight
        super().fit(X, y)


class Words:
    def fit(self, X, y):
        pairs = zip(X, y)
        self.names = {(t[s["start"]:s["end"]], s["type"]) for t, spans in pairs for s in spans}

    def predict(self, X):
        return [
            [{"start": text.find(name), "end": text.find(name) + len(name), "type": kind}
             for name, kind in sorted(self.names) if name in text]
            for text in X
        ]
'''


def built(kind, tmp_path, target, features="tfidf", types=None, **options):
    config = EstimatorConfig(name="own", target=target, features=features, options=options)
    return build(
        config, kind, N_CLASSES.get(kind, 2), seed=3, threads=1, cache=tmp_path, types=types
    )


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("sklearn.naive_bayes.ComplementNB", {"alpha": 0.3}),  # predict_proba
        ("sklearn.svm.LinearSVC", {}),  # decision_function
        ("sklearn.linear_model.Perceptron", {"max_iter": 50}),
        ("sklearn.neighbors.NearestCentroid", {}),  # takes no weights
        ("sklearn.naive_bayes.GaussianNB", {}),  # no sparse matrices
        ("sklearn.tree.DecisionTreeClassifier", {}),
    ],
)
def test_estimators_of_scikit_learn_do_every_kind_of_sentence_task(tmp_path, kind, target, options):
    model = built(kind, tmp_path, target, **options).fit(TEXTS, TARGETS[kind])
    scores = model.predict_proba(TEXTS)
    assert scores.shape == (6, N_CLASSES[kind]) and 0 <= scores.min() <= scores.max() <= 1
    agree = np.asarray(model.predict(TEXTS)) == TARGETS[kind]
    assert agree.mean() > 0.7
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict_proba(TEXTS) == scores).all()


def test_the_features_are_those_of_the_tfidf_classifier(tmp_path):
    from sklearn.linear_model import LogisticRegression

    from touchstone.models.tfidf import TfidfClassifier

    own = built(
        "binary",
        tmp_path,
        "sklearn.linear_model.LogisticRegression",
        class_weight="balanced",
        solver="newton-cg",
        max_iter=10_000,
    )
    ours = TfidfClassifier(kind="binary")
    y = TARGETS["binary"]
    assert (own.fit(TEXTS, y).predict_proba(TEXTS) == ours.fit(TEXTS, y).predict_proba(TEXTS)).all()
    assert isinstance(own.heads_.models[0], LogisticRegression)


def test_a_class_that_draws_gets_the_seed_of_the_cell(tmp_path):
    forest = "sklearn.ensemble.RandomForestClassifier"
    model = built("binary", tmp_path, forest, n_estimators=3).fit(TEXTS, TARGETS["binary"])
    assert model.heads_.models[0].random_state == 3
    model = built("binary", tmp_path, forest, n_estimators=3, random_state=8)
    assert model.fit(TEXTS, TARGETS["binary"]).heads_.models[0].random_state == 8


@pytest.mark.parametrize("kind", TARGETS)
def test_a_class_of_ones_own_takes_texts(project, kind):
    (project / "rules.py").write_text(RULES)
    model = built(kind, project, "rules.Rules", "text").fit(TEXTS, TARGETS[kind])
    assert (model.predict(TEXTS) == TARGETS[kind]).mean() > 0.8
    assert set(np.unique(model.predict_proba(["forgets", "unknown"]))) <= {0.0, 1.0}


def test_a_tagger_of_ones_own_takes_texts_and_spans(project):
    (project / "rules.py").write_text(RULES)
    spans = [[{"start": 0, "end": 4, "type": "Fall"}], []]
    model = built("ner", project, "rules.py:Words", "text", types=["Fall"])
    model.fit(["fell twice", "sleeps"], spans)
    assert model.predict(["she fell"]) == [[{"start": 4, "end": 8, "type": "Fall"}]]
    with pytest.raises(UserError, match="classifier.features=tfidf: must be text for entities"):
        built("ner", project, "rules.py:Words")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("rules.Wrong", 'no name "Wrong".*There are: Rules, Weighted, Words'),
        ("sklearn.svm.LinearSVM", "no LinearSVM|no name"),
        ("nopackage.Model", "no module nopackage in"),
    ],
)
def test_what_is_no_class_is_said(project, target, message):
    (project / "rules.py").write_text(RULES)
    with pytest.raises(UserError, match=message):
        built("binary", project, target, "text")


def test_an_option_that_the_class_does_not_take_names_those_it_takes(project):
    with pytest.raises(
        UserError, match=r'^classifier.options.alhpa: no option "alhpa". Did you mean alpha\?.*norm'
    ):
        built("binary", project, "sklearn.naive_bayes.ComplementNB", alhpa=1)


def test_weights_reach_the_class_and_are_refused_where_it_cannot_use_them(project):
    (project / "rules.py").write_text(RULES)
    weights = [1, 1, 1, 1, 1, 0.5]
    model = built("binary", project, "rules.Weighted", "text")
    model.fit(TEXTS, TARGETS["binary"], sample_weight=weights)
    assert model.heads_.models[0].weights.tolist() == weights
    for target, features in (
        ("rules.Rules", "text"),
        ("sklearn.neighbors.KNeighborsClassifier", "tfidf"),
    ):
        with pytest.raises(UserError, match="its fit takes no sample_weight.*weight=1"):
            built("binary", project, target, features).fit(
                TEXTS, TARGETS["binary"], sample_weight=weights
            )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("self.known = {", "self.known = undefined  # {"), "rules.py, line 9: NameError"),
        (("self.default) for", "7) for"), r"predicts what is none of its classes \[0, 1\]"),
    ],
)
def test_an_error_in_the_class_is_told_as_the_users(project, change, message):
    (project / "rules.py").write_text(RULES.replace(*change))
    with pytest.raises(UserError, match=f"^classifier.target=rules.Rules: .*{message}"):
        built("binary", project, "rules.Rules", "text").fit(TEXTS, TARGETS["binary"]).predict(
            ["unknown word"]
        )
