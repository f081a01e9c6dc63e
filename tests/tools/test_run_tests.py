"""The tally of tools/run-tests: what counts as passed, failed and skipped."""
import importlib.machinery
import importlib.util
import json
import pathlib

import pytest

PATH = pathlib.Path(__file__).resolve().parent.parent.parent / "tools" / "run-tests"


@pytest.fixture
def tool():
    loader = importlib.machinery.SourceFileLoader("run_tests", str(PATH))
    spec = importlib.util.spec_from_loader("run_tests", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def meson_tally(tool, tmp_path, *tests):
    log = tmp_path / "testlog.json"
    log.write_text("".join(json.dumps(t) + "\n" for t in tests))
    tally = tool.Tally()
    tool.count_meson(log, tally)
    return tally


@pytest.mark.parametrize("stdout, result, line", [
    ("ok 1 - a\nok 2 - b\n1..2\n", "OK", "2 passed, 0 failed, 0 skipped"),
    ("ok 1 - a\nok 2 - b # SKIP no root\n1..2\n", "OK", "1 passed, 0 failed, 1 skipped"),
    ("ok 1 - a\nnot ok 2 - b\n1..2\n", "FAIL", "1 passed, 1 failed, 0 skipped"),
    ("ok 1 - a\n", "FAIL", "1 passed, 1 failed, 0 skipped"),
    ("ok 1 - a\n# noise\n", "TIMEOUT", "1 passed, 1 failed, 0 skipped"),
    ("", "ERROR", "0 passed, 1 failed, 0 skipped"),
    ("anything", "OK", "1 passed, 0 failed, 0 skipped"),
    ("", "SKIP", "0 passed, 0 failed, 1 skipped"),
])
def test_meson_results(tool, tmp_path, stdout, result, line):
    tally = meson_tally(tool, tmp_path, {"name": "x", "result": result, "stdout": stdout, "returncode": 1})
    assert tally.line() == line


def test_a_skip_keeps_its_reason(tool, tmp_path):
    tally = meson_tally(tool, tmp_path, {"name": "x", "result": "OK", "stdout": "ok 1 - b # SKIP needs root\n"})
    assert tally.skips == ["x: b: needs root"]


def test_junit_results(tool, tmp_path):
    xml = tmp_path / "pytest.xml"
    xml.write_text("""<testsuites><testsuite>
        <testcase classname="m" name="fine"/>
        <testcase classname="m" name="bad"><failure message="x"/></testcase>
        <testcase classname="m" name="bad"><error message="teardown"/></testcase>
        <testcase classname="m" name="worse"><error message="x"/></testcase>
        <testcase classname="m" name="left"><skipped message="needs root"/></testcase>
        </testsuite></testsuites>""")
    tally = tool.Tally()
    tool.count_junit(xml, tally)
    assert tally.line() == "1 passed, 2 failed, 1 skipped"
    assert tally.failures == ["m::bad", "m::worse"] and tally.skips == ["m::left: needs root"]


def test_a_sanitizer_report_is_a_failure(tool, tmp_path, capsys):
    (tmp_path / "report.7").write_text("x\nSUMMARY: AddressSanitizer: 5 byte(s) leaked\n")
    (tmp_path / "report.8").write_text("==8==WARNING: ASan doesn't fully support swapcontext\n")
    tally = tool.Tally()
    tool.count_reports(tmp_path, tally)
    assert tally.failures == ["sanitizer: SUMMARY: AddressSanitizer: 5 byte(s) leaked"]
    assert "report.7" in capsys.readouterr().out
