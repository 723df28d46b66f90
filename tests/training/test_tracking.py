import json
import warnings
from pathlib import Path

import pytest

from ringrift.errors import CorruptBlob, DataError
from ringrift.training.tracking import METRICS, Tracker, curve, find, tracked

KEY = "ab" * 32


def logged(folder: Path, steps=(10, 20, 30), start: int = 0) -> Tracker:
    tracker = Tracker(folder, KEY, {"configs": ["square8_2p"], "settings": {"clip": 5.0}}, start)
    for step in steps:
        tracker.log(step, {"loss": 1 / step, **({"held_out": 2.0} if step == 20 else {})})
    return tracker


def test_what_is_written_is_read(tmp_path):
    logged(tmp_path).finish(models={"square8_2p": "m-1"}, result={"loss_after": 0.5})
    (run,) = tracked(tmp_path)
    assert run.id == "t-" + "ab" * 6
    assert (run.about["status"], run.about["result"]) == ("finished", {"loss_after": 0.5})
    assert curve(run, "loss") == ([10, 20, 30], [1 / 10, 1 / 20, 1 / 30])
    assert curve(run, "held_out") == ([20], [2.0])
    assert find([run], "last") is find([run], "t-ab") is find([run], "m-1") is run
    with pytest.raises(DataError, match="loss"):
        curve(run, "los")
    with pytest.raises(DataError, match="means 0 trainings"):
        find([run], "t-cd")


def test_going_on_forgets_what_was_not_saved(tmp_path):
    logged(tmp_path)
    with (tmp_path / "runs" / f"t-{KEY[:12]}" / METRICS).open("a") as file:
        file.write('{"step": 40, "lo')  # killed in mid-line
    assert [row["step"] for row in tracked(tmp_path)[0].rows] == [10, 20, 30]
    began = tracked(tmp_path)[0].about["started"]
    logged(tmp_path, (25, 35), start=24)
    (run,) = tracked(tmp_path)
    assert [row["step"] for row in run.rows] == [10, 20, 25, 35]
    assert run.about["started"] == began
    logged(tmp_path, (5,))
    assert [row["step"] for row in tracked(tmp_path)[0].rows] == [5]
    (tmp_path / "runs" / run.id / "training.json").write_text("{")
    with pytest.raises(CorruptBlob, match="delete"):
        tracked(tmp_path)


def test_tensorboard_reads_it(tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    tracker = logged(tmp_path)
    (path,) = tracker.path.glob("*tfevents*")
    first, *events = loader.LegacyEventFileLoader(str(path)).Load()  # checks the checksums
    assert first.file_version == "brain.Event:2"
    values = [(event.step, {v.tag: v.simple_value for v in event.summary.value}) for event in events]
    assert values == [(step, {"loss": pytest.approx(1 / step)} | ({"held_out": 2.0} if step == 20 else {}))
                      for step in (10, 20, 30)]  # fmt: skip


@pytest.mark.slow
def test_mlflow_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logged(tmp_path).finish(result={})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow = pytest.importorskip("mlflow")
        client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
        (experiment,) = [one for one in client.search_experiments() if one.name == "ringrift"]
        (run,) = client.search_runs([experiment.experiment_id])
        history = client.get_metric_history(run.info.run_id, "loss")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == tracked(tmp_path)[0].id
    assert [(point.step, point.value) for point in history] == [(10, 0.1), (20, 0.05), (30, 1 / 30)]
    assert run.data.params["settings.clip"] == "5.0"
    assert json.loads(run.data.params["configs"].replace("'", '"')) == ["square8_2p"]
