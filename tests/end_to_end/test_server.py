"""Sweeps against a real tracking server with PostgreSQL: the same numbers, and what was half-logged
when it died is not finished."""

import importlib.util
import io

import mlflow
import pandas as pd
import pytest
from preloaded import run, start
from tracking_server import initdb, postgres, serving

from touchstone import tracking
from touchstone.run.sync import sync

pytestmark = [
    pytest.mark.skipif(initdb() is None, reason="PostgreSQL (initdb) is not installed"),
    pytest.mark.skipif(
        importlib.util.find_spec("psycopg") is None,
        reason="psycopg is not installed: pip install 'touchstone-nlp[server]'",
    ),
]
PASSWORD = "correct-horse-7-battery"
AUTH = """[mlflow]
default_permission = READ
database_uri = sqlite:///basic_auth.db
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""
ONE = ("-m", "mixture=gold", "task.gold_patients=1")  # its model is logged too
FEW = ("generation.bronze_per_category=10", "generation.bronze_none=10")
GRID = ("-m", "mixture=gold", "task.gold_patients=1,2,3,4", "tracking.log_models=false")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with (
        postgres() as database,
        serving(tmp_path_factory.mktemp("server") / "mlflow", database) as running,
    ):
        yield running


def results(uri: str | None, study: str, folder):
    """gold_patients -> (score table, predicted scores) of the finished cells; every one of them can
    be read whole."""
    store = tracking.open_store(uri, study, folder / "mlflow")
    parents = store.client.search_runs([store.experiment_id], f"tags.`{tracking.KIND}` = 'sweep'")
    found = {}
    for parent in parents:
        for cell in tracking.children(store, parent.info.run_id):
            if cell.info.status == "FINISHED":
                place = tracking.artifacts(store, cell)
                patients = cell.data.params["gold_patients"]
                assert patients not in found, "a cell finished twice"
                scores = pd.read_parquet(
                    io.BytesIO((place / "predictions" / "predictions.parquet").read_bytes())
                )["score"]
                exact = b"".join(row.tobytes() for row in scores)
                found[patients] = (place / "tables" / "scores.csv").read_bytes(), exact
    return parents, found


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("embedded")
    done = run(*GRID, cwd=folder)
    assert done.process.exitcode == 0, done.said()
    return results(None, "two_directions", folder)[1]


def test_finished_runs_are_copied_to_a_server_once(server, tmp_path):
    done = run(
        "-m", "mixture=gold_bronze", "task.gold_patients=1", *FEW, "study=copied", cwd=tmp_path
    )
    assert done.process.exitcode == 0, done.said()
    for new in (1, 0):
        copied = sync(tmp_path / "mlflow", server.uri)
        assert copied.new["cell"] == copied.new["sweep"] == copied.new["generation"] == new
    (parent,), found = results(server.uri, "copied", tmp_path / "theirs")
    assert parent.info.status == "FINISHED" and found == results(None, "copied", tmp_path)[1]
    store = tracking.open_store(server.uri, "copied", tmp_path / "theirs")
    (cell,) = tracking.children(store, parent.info.run_id)
    mlflow.set_tracking_uri(server.uri)
    (logged,) = cell.outputs.model_outputs
    model = mlflow.pyfunc.load_model(f"models:/{logged.model_id}")
    assert len(model.predict(pd.DataFrame({"text": ["He forgets names."]}))) == 1


@pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason="the joblib launcher is not installed",
)
def test_four_processes_write_the_numbers_of_the_embedded_store(server, embedded, tmp_path):
    done = run(
        *GRID,
        f"tracking.uri={server.uri}",
        "study=four",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=4",
        cwd=tmp_path,
    )
    assert done.process.exitcode == 0 and "no intervals" not in done.said(), done.said()
    (parent,), found = results(server.uri, "four", tmp_path)
    assert parent.info.status == "FINISHED" and len(found) == 4 and found == embedded


def test_a_server_killed_and_restarted_is_waited_for(server, embedded, tmp_path):
    running = start(
        *GRID, f"tracking.uri={server.uri}", "study=restarted", cwd=tmp_path, hold_at="macro F1"
    )
    running.wait_until_held()
    server.kill()
    running.go_on()
    running.wait_until_said("does not answer; waiting")
    server.start()
    assert running.wait() == 0, running.said()
    (parent,), found = results(server.uri, "restarted", tmp_path)
    assert parent.info.status == "FINISHED" and found == embedded


def test_a_server_that_stays_away_is_one_line_and_the_same_command_goes_on(
    server, embedded, tmp_path
):
    command = (*GRID, f"tracking.uri={server.uri}", "study=away")
    running = start(
        *command,
        cwd=tmp_path,
        hold_at="macro F1",
        environment={"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"},
    )
    running.wait_until_held()
    server.kill()
    running.go_on()
    status = running.wait()
    said = running.said()
    server.start()
    assert status == 1 and "does not answer" in said and "Traceback" not in said, said
    _, before = results(server.uri, "away", tmp_path)
    assert 1 <= len(before) < 4
    done = run(*command, cwd=tmp_path)
    assert done.process.exitcode == 0, done.said()
    parents, found = results(server.uri, "away", tmp_path)
    assert parents[0].info.status == "FINISHED" and found == embedded


@pytest.fixture(scope="module")
def guarded(server, tmp_path_factory):
    """The same database behind users and passwords."""
    if importlib.util.find_spec("flask_wtf") is None:
        pytest.skip("Flask-WTF is not installed: pip install 'touchstone-nlp[server]'")
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "auth.ini").write_text(AUTH)
    secrets = {
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of this test",
    }
    settings = {"MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"), **secrets}
    with serving(
        folder / "mlflow", server.backend, "--app-name", "basic-auth", **settings
    ) as running:
        yield running


@pytest.mark.parametrize("password", [None, "wrong-guess-91"])
def test_a_refused_password_is_one_line_that_does_not_show_it(guarded, tmp_path, password):
    user = (
        {}
        if password is None
        else {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": password}
    )
    done = run(*GRID, f"tracking.uri={guarded.uri}", cwd=tmp_path, environment=user)
    errors = [line for line in done.said().splitlines() if line.startswith("error: ")]
    assert (
        done.process.exitcode == 1 and len(errors) == 1 and "MLFLOW_TRACKING_USERNAME" in errors[0]
    ), done.said()
    assert "Traceback" not in done.said() and "wrong-guess-91" not in done.said()


def test_user_and_password_let_a_sweep_in_and_stand_nowhere(guarded, tmp_path):
    user = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    done = run(*ONE, f"tracking.uri={guarded.uri}", "study=guarded", cwd=tmp_path, environment=user)
    assert done.process.exitcode == 0 and PASSWORD not in done.said(), done.said()
    written = [*tmp_path.rglob("*"), *(guarded.folder / "artifacts").rglob("*")]
    assert any(path.name == "config.yaml" for path in written)
    assert not [
        path for path in written if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]
