"""What operators order of a real process: it holds over a kill, ends it, or changes what it works by."""

import json
import signal

import yaml

from system.service import counted, stored, wanted, write


def test_a_pause_holds_over_a_kill_and_a_drain_ends_the_next_process(site):
    """Nothing is stored until somebody resumes, whoever starts it; then all is, and it stops with 0."""
    assert site.run("run", "--once").returncode == 0
    offline = json.loads(site.run("pause", "--json", "--reason", "moving").stdout)
    assert (offline["changed"], offline["running"], offline["paused"]["reason"]) == (True, False, "moving")
    night = write(site.data)
    first = site.start()
    first.wait_for_counts(ready=5)
    first.kill()
    told = json.loads(site.run("status", "--json").stdout)
    assert (told["alive"], told["holder"], told["paused"]["reason"]) == (False, None, "moving")

    second = site.start()
    second.running()
    assert site.counts() == counted(ready=5)
    assert site.run("run", "--once").returncode == 75
    assert "PAUSED by " in site.run("board").stdout
    told = json.loads(site.run("status", "--json").stdout)
    assert (told["alive"], told["holder"]["pid"]) == (True, second.process.pid)
    assert json.loads(site.run("pause", "--json").stdout)["changed"] is False
    resumed = json.loads(site.run("resume", "--json").stdout)
    assert (resumed["changed"], resumed["paused"], resumed["heard"]) == (True, None, True)
    drained = json.loads(site.run("drain", "--json", "--wait", "40s").stdout)
    assert (drained["running"], drained["heard"], drained["stopped"]) == (True, True, True)
    assert (drained["failure"], drained["pending"], drained["code"]) == (None, 0, None)
    assert (second.ended(), stored(site.repository)) == (0, wanted(night))
    assert site.status()["reason"].startswith("drained by ")
    again = site.run("drain", "--json")
    assert (again.returncode, json.loads(again.stdout)["code"]) == (0, "not_running")
    for command in ("rescan", "reload"):
        refused = site.run(command)
        assert (refused.returncode, "[not_running]" in refused.stderr) == (1, True)


def test_a_configuration_is_taken_over_only_if_it_is_right(site):
    """A wrong file changes nothing, by command and by signal; a right one is worked by without a restart."""
    service = site.start().running()
    good = site.config_file.read_text()
    site.config_file.write_text(good.replace("settle", "setle"))
    refused = site.run("reload")
    assert (refused.returncode, "watch.setle" in refused.stderr) == (78, True)
    assert site.status()["configuration"]["answers"] == 0
    service.process.send_signal(signal.SIGHUP)
    service.wait_for(lambda: site.status()["configuration"]["refused"], "the refusal")
    assert "watch.setle" in site.status()["configuration"]["refused"]

    settings = yaml.safe_load(good)
    settings["instrument"] = "PFS-F"
    site.config_file.write_text(yaml.safe_dump(settings))
    refused = site.run("reload")
    assert (refused.returncode, "instrument cannot be changed while it runs" in refused.stderr) == (78, True)

    assert "instrument cannot be changed" in site.run("status").stdout

    more = site.folder / "more"
    more.mkdir()
    night = write(more)
    settings = yaml.safe_load(good)
    settings["watch"] |= {"raw": ["data", "more"], "pfsConfig": ["data", "more"]}
    site.config_file.write_text(yaml.safe_dump(settings))
    assert json.loads(site.run("reload", "--json").stdout) == {"reloaded": True}
    service.wait_for_counts(ingested=4, waiting=1)
    assert site.status()["configuration"]["refused"] == ""
    assert {watcher["root"] for watcher in site.status()["watchers"]} == {str(site.data), str(more)}
    assert (service.stop(), stored(site.repository)) == (0, wanted(night))
