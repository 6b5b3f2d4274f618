"""Hashes name weights: the same bytes, the same name, wherever they lie."""

import hashlib
from pathlib import Path
from threading import Event, Thread

import pytest

from sd_ui.models.hashes import CHUNK, Hashes
from sd_ui.models.hashing import Hasher, Stopped
from sd_ui.spec.cards import LORA, ModelCard
from tests.checkpoints import tiny_folder


def test_a_files_hash_is_its_sha256_and_follows_its_content(tmp_path):
    hashes, path = Hashes(), tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    assert hashes.of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert hashes.of(path) == hashlib.sha256(b"three").hexdigest()


def test_a_folders_hash_depends_on_its_weights_alone(tmp_path):
    one, two, three = tiny_folder(tmp_path / "one"), tiny_folder(tmp_path / "two"), tiny_folder(tmp_path / "three", seed=1)
    (two / "model_index.json").write_text("{}")
    assert Hashes().of(one) == Hashes().of(two) != Hashes().of(three)


def test_an_unchanged_file_is_read_once(tmp_path, monkeypatch):
    hashes, path = Hashes(), tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    first = hashes.of(path)
    monkeypatch.setattr(hashlib, "sha256", None)
    assert hashes.of(path) == first


# ---------------------------------------------------------------- kept, and worked off
def test_a_hash_is_still_known_after_a_restart(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    whole, tensors = Hashes(tmp_path / "cache").of(path), Hashes(tmp_path / "cache").of_tensors(path)
    monkeypatch.setattr(hashlib, "sha256", None)
    again = Hashes(tmp_path / "cache")
    assert again.known(path) == again.of(path) == whole and again.of_tensors(path) == tensors != whole


def test_a_changed_file_is_not_known_by_its_old_hash(tmp_path):
    hashes, path = Hashes(tmp_path / "cache"), tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    hashes.of(path)
    path.write_bytes(b"three")
    assert hashes.known(path) == Hashes(tmp_path / "cache").known(path) == ""


@pytest.mark.parametrize("line", ['["{}", [["{}", 3, 4]], "../../etc"]', '["{}", 5, 6]', "{{", "\0"])
def test_a_cache_that_makes_no_sense_is_not_believed(tmp_path, line):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"one")
    Hashes(tmp_path / "cache").of(path)
    file = tmp_path / "cache" / "hashes.jsonl"
    file.write_text(file.read_text().split("\n")[0] + "\n" + line.format(path, path))
    assert Hashes(tmp_path / "cache").of(path) == hashlib.sha256(b"one").hexdigest()


@pytest.mark.parametrize(("ask", "skipped", "opens"), [(Hashes.of, 0, 1), (Hashes.of_tensors, 8, 3)])
def test_loading_waits_for_the_hash_that_is_being_made_at_full_speed(tmp_path, monkeypatch, ask, skipped, opens):
    """The file itself is read once for it."""
    hashes, path = Hashes(), tmp_path / "a.safetensors"
    path.write_bytes(bytes(5 * CHUNK))
    reading, answers, opened = Event(), [], []

    def running():
        reading.set()
        return True  # a job runs all the time, and it is the one that waits

    real = Path.open
    monkeypatch.setattr(Path, "open", lambda me, *args, **kwargs: opened.append(me) or real(me, *args, **kwargs))
    hasher = Hasher(Shelf(hashes, ModelCard("a", "checkpoint", "sd1", path, "file", 1)), running)
    background = Thread(target=hasher.work)
    background.start()
    assert reading.wait(20)
    loading = Thread(target=lambda: answers.append(ask(hashes, path)))
    loading.start()
    background.join(20)
    loading.join(20)
    assert answers == [hashlib.sha256(bytes(5 * CHUNK)[skipped:]).hexdigest()] and hashes.known(path)
    assert opened.count(path) == opens


class Shelf:
    def __init__(self, hashes, *cards):
        self.hashes, self._cards = hashes, {card.name: card for card in cards}

    def cards(self):
        return self._cards


def on_disk(path, size, fault=""):
    path.write_bytes(bytes(size))
    return ModelCard(path.name, "checkpoint", "sd1", path, "file", size, fault=fault)


def test_the_background_works_off_what_can_be_used_the_small_ones_first(tmp_path):
    hashes = Hashes(tmp_path / "cache")
    cards = [on_disk(tmp_path / "large", 300), on_disk(tmp_path / "small", 3), on_disk(tmp_path / "bad", 2, "damaged")]
    gone = ModelCard("gone", "checkpoint", "sd1", tmp_path / "gone", "file", 1)
    Hasher(Shelf(hashes, *cards, gone), lambda: False).work()
    assert [bool(hashes.known(card.path)) for card in (*cards, gone)] == [True, True, False, False]
    lines = (tmp_path / "cache" / "hashes.jsonl").read_text()
    assert lines.index("small") < lines.index("large")


def test_the_background_finds_the_hash_by_which_recipes_call_a_lora(tmp_path):
    hashes, path = Hashes(tmp_path / "cache"), tmp_path / "ink.safetensors"
    path.write_bytes((2).to_bytes(8, "little") + b"{}" + b"numbers")
    assert hashes.known_of_tensors(path) == ""
    Hasher(Shelf(hashes, ModelCard("ink", LORA, "sd1", path, "file", 1)), lambda: False).work()
    assert hashes.known_of_tensors(path) == hashlib.sha256(b"numbers").hexdigest() != hashes.known(path)


def test_the_background_rests_while_jobs_run_and_stops_at_once(tmp_path):
    hashes, asked = Hashes(), Event()
    card = on_disk(tmp_path / "large", 3 * CHUNK)

    def busy():
        asked.set()
        return True

    hasher = Hasher(Shelf(hashes, card), busy)

    def work():
        with pytest.raises(Stopped):
            hasher.work()

    working = Thread(target=work)
    working.start()
    assert asked.wait(20) and hashes.known(card.path) == ""
    hasher.stop()
    working.join(20)
    assert not working.is_alive() and hashes.known(card.path) == ""


def test_a_thread_that_was_never_started_can_be_stopped(tmp_path):
    Hasher(Shelf(Hashes()), lambda: False).stop()
