"""The benchmark: its statistics, its tables, the order of its runs, and one run of each subject."""

import argparse
from dataclasses import asdict
import json
from pathlib import Path
import platform
from typing import Any

import pytest

from scripts import benchmark
from scripts.bench.plan import SUBJECTS, SYSTEMS, Case, Run, Subject, cases, order
from scripts.bench.report import OWN_CPU, POLL_CPU, REQUESTS, Results, Spread, number, ratio, table

BATTERY = Case("battery", all_enabled=True)


SLOPES: tuple[tuple[Subject, int], ...] = (("ours", 1), ("own", 4))


def run(subject: Subject = "ours", system: str = "battery", **changes: Any) -> Run:
    """Return a run of two polls that took 10 ms, 4 of them in the library."""
    values: dict[str, Any] = {
        "subject": subject,
        "system": system,
        "all_enabled": True,
        "setup_cpu": 0.1,
        "setup_wall": 0.2,
        "again_cpu": None if subject == "bare" else 0.05,
        "cpu": [0.008, 0.012],
        "library_cpu": [0.004, 0.004],
        "requests": 14,
        "bytes": 20_000,
        "paths": {"/production.json 200": 14},
        "changed": 10.0,
        "reported": 30.0,
        "entities": 40,
        "peak": 200_000_000,
        "added": 5_000_000,
    }
    return Run(**values | changes)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.034, "0.03"), (5.158, "5.16"), (37.21, "37.2"), (478, "478"), (7912.4, "7912"), (-1.5, "-1.50")],
)
def test_numbers_show_about_three_digits(value: float, text: str) -> None:
    """Numbers in tables are rounded."""
    assert number(value) == text


def test_spread_is_median_and_quartiles() -> None:
    """A single outlier does not change the median."""
    spread = Spread.of([5.0, 1.0, 3.0, 2.0, 400.0])
    assert spread == Spread(3.0, 2.0, 5.0)
    assert str(spread) == "3.00 (2.00 to 5.00)"


def test_spread_without_a_range_is_one_number() -> None:
    """One run, equal runs, and no runs have no quartiles."""
    assert str(Spread.of([7.0])) == "7.00"
    assert str(Spread.of([7.0, 7.0, 7.0])) == "7.00"
    assert Spread.of([]) is None


def test_ratio_needs_both() -> None:
    """It is missing if a value is missing or the other is 0."""
    assert ratio(1.0, 4.0) == "0.25"
    assert ratio(None, 4.0) == ratio(1.0, None) == ratio(1.0, 0.0) == "-"


def test_own_cpu_excludes_the_library() -> None:
    """The library alone has no own CPU."""
    results = Results([run(), run("bare")])
    assert results.middle(BATTERY, "ours", POLL_CPU) == pytest.approx(10.0)
    assert results.middle(BATTERY, "ours", OWN_CPU) == pytest.approx(6.0)
    assert results.middle(BATTERY, "bare", OWN_CPU) is None


def test_rates_are_per_poll_since_polls_are_a_minute_apart() -> None:
    """14 requests in two polls are seven per minute."""
    assert Results([run()]).middle(BATTERY, "ours", REQUESTS) == 7


def test_library_alone_counts_for_both_cases_of_a_system() -> None:
    """It is measured once, with every entity enabled."""
    results = Results([run("bare"), run(all_enabled=False), run()])
    default = Case("battery", all_enabled=False)
    assert results.cases() == [default, BATTERY]
    assert results.middle(default, "bare", POLL_CPU) == results.middle(BATTERY, "bare", POLL_CPU)


def test_summary_compares_medians_of_a_case() -> None:
    """The component needs half of the CPU."""
    results = Results([run("own", cpu=[0.02, 0.02], library_cpu=[0.004, 0.004]), run(), run()])
    (row,) = results.summary().splitlines()[2:]
    assert row.startswith(
        "| full battery, all | 100 / 100 = **1.00** | 10.0 / 20.0 = **0.50** | 6.00 / 16.0 = **0.38**"
    )


def test_details_have_a_row_for_each_measure_and_mark_missing_values() -> None:
    """Home Assistant's own integration was not measured."""
    rows = Results([run(), run("bare")]).details(BATTERY).splitlines()
    assert rows[0] == "|  | ours | own | library alone | ours / own |"
    assert "| poll, CPU [ms] | 10.0 | - | 10.0 | - |" in rows
    assert "| poll, CPU less library alone [ms] | 0 | - | - | - |" in rows
    assert "| state writes per poll | 40.0 | - | - | - |" in rows


def test_growth_is_the_slope_over_the_numbers_of_inverters() -> None:
    """The component needs 1 ms and the own integration 4 ms for 100 more inverters."""
    runs = [
        run(subject, f"inverters_{count}", cpu=[slope * count / 1e5 + 0.01] * 2)
        for count in (49, 200, 600)
        for subject, slope in SLOPES
    ]
    assert "| poll, CPU [ms], all | 1.00 | 4.00 | 0.25 |" in Results(runs).growth().splitlines()
    assert Results([run()]).growth() == ""


def test_table_is_markdown_with_numbers_to_the_right() -> None:
    """A table of one row."""
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"


def test_runs_alternate_in_both_directions_and_cases_take_turns() -> None:
    """Two systems are measured twice; the library alone runs once for a system."""
    wanted = cases(["legacy", "battery"], [False, True])
    planned = [(round_, case.system, subject) for round_, case, subject in order(wanted, SUBJECTS, 2)]
    assert planned[:5] == [(0, "legacy", subject) for subject in ("ours", "own", "bare", "ours", "own")]
    assert planned[10:15] == [(1, "legacy", subject) for subject in ("bare", "own", "ours", "own", "ours")]
    assert len(planned) == 2 * 2 * 5


def measured_in_no_time(case: Case, subject: Subject, polls: int) -> Run:
    """Replace the process of a run."""
    return run(subject, case.system, all_enabled=case.all_enabled, cpu=[0.01] * polls, library_cpu=[0.0] * polls)


def test_all_systems_are_measured_by_default() -> None:
    """The runs are 6 systems x 2 cases x 2 subjects, and the library alone."""
    runs = benchmark.measure(benchmark.parse(["--rounds", "1"]), measured_in_no_time)
    assert len(runs) == 6 * 2 * 2 + 6
    assert {each.system for each in runs} == set(SYSTEMS)


def test_quick_measures_fewer_systems() -> None:
    """The runs of the quick set, and of one selected system."""
    assert len(benchmark.measure(benchmark.parse(["--quick"]), measured_in_no_time)) == 2 * 2 * 3
    chosen = benchmark.measure(benchmark.parse(["--quick", "--system", "legacy"]), measured_in_no_time)
    assert {each.system for each in chosen} == {"legacy"}


def test_number_of_runs_must_be_above_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """Zero rounds are rejected."""
    with pytest.raises(SystemExit):
        benchmark.parse(["--rounds", "0"])
    assert "0 is not above 0" in capsys.readouterr().err
    with pytest.raises(argparse.ArgumentTypeError):
        benchmark.positive("-1")


def test_report_can_be_created_from_a_json_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is written by --json and read by --read."""
    raw = tmp_path / "raw.json"
    machine = {"Python": "3.14", "on": "2 cores"}
    raw.write_text(json.dumps({"machine": machine, "runs": [asdict(run(subject)) for subject in SUBJECTS]}))
    assert benchmark.main(["--read", str(raw)]) == 0
    report = capsys.readouterr().out
    assert report.startswith("Python 3.14, on 2 cores; 1 runs each, 2 polls a run.")
    assert "**full battery, all entities**" in report


def test_machine_is_described_without_its_name(tmp_path: Path) -> None:
    """The host name is not in the description."""
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: Fast 3000\n")
    assert benchmark.processor(listed) == "Fast 3000"
    assert platform.node() not in benchmark.machine().values()


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.slow
def test_one_run(subject: Subject) -> None:
    """Each subject is measured once, with few polls."""
    found = benchmark.run(Case("metered", all_enabled=False), subject, polls=1)
    assert len(found.cpu) == len(found.library_cpu) == 1
    assert 0 < found.library_cpu[0] <= found.cpu[0]
    assert found.requests == sum(found.paths.values()) > 0
    assert found.bytes > 0
    assert (found.entities > 10) == (found.changed > 0) == (subject != "bare")
    assert found.peak > found.added


def test_failed_run_raises_with_its_case_and_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system does not exist."""
    monkeypatch.setitem(SYSTEMS, "none", SYSTEMS["metered"])
    with pytest.raises(benchmark.Stop, match=r"(?s)^ours, metered.*: exit code 2\n.*invalid choice: 'none'"):
        benchmark.run(Case("none", all_enabled=True), "ours", polls=1)
