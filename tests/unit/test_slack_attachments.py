"""The files in Slack messages as attachments: every kind of file that Slack documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters.slack.attachments import attachment, attachments, lost_files
from adapters.slack.downloads import vtt_text
from adapters.slack.events import Identity
from bot.domain.attachments import IncomingAttachment, Omission
from tests.support.mutations import mutations
from tests.support.slack_kit import read_event

FIXTURES = Path(__file__).parents[1] / "fixtures" / "slack"
SHOWN: dict[str, Any] = json.loads((FIXTURES / "shown.json").read_text())
ME = Identity("T0HOME0001", "U0BOT00001", "B0BOT00001")
URL = "https://files.slack.com/files-pri/T1-F1"
HOSTED: dict[str, Any] = {
    "id": "F1",
    "name": "report.pdf",
    "title": "Third quarter",
    "mimetype": "application/pdf",
    "filetype": "pdf",
    "size": 1_234,
    "mode": "hosted",
    "is_external": False,
    "file_access": "visible",
    "url_private": f"{URL}/report.pdf",
    "url_private_download": f"{URL}/download/report.pdf",
}
AUDIO = {"name": "audio_message.m4a", "mimetype": "video/mp4", "subtype": "slack_audio"}


def read(**changes: Any) -> IncomingAttachment:
    return attachment(HOSTED | changes)


def spoken(status: str, content: str = "", *, more: bool = False) -> dict[str, Any]:
    preview = {"content": content, "has_more": more}
    return {"status": status, "locale": "en-US"} | ({"preview": preview} if content else {})


def test_an_uploaded_file() -> None:
    assert read() == IncomingAttachment(
        name="report.pdf",
        media_type="application/pdf",
        size=1_234,
        identity="F1",
        locator={
            "file": "F1",
            "url": f"{URL}/download/report.pdf",
            "type": "application/pdf",
            "size": "1234",
        },
    )


@pytest.mark.parametrize(
    ("changes", "omission"),
    [
        ({"mode": "external", "external_type": "gdrive"}, Omission.NO_ACCESS),
        ({"is_external": True}, Omission.NO_ACCESS),
        ({"file_access": "access_denied"}, Omission.NO_ACCESS),
        ({"file_access": "file_not_found"}, Omission.GONE),
        ({"mode": "hidden_by_limit", "name": None, "title": None}, Omission.NO_ACCESS),
        ({"mode": "list"}, Omission.UNSUPPORTED),
        ({"mode": "tombstone"}, Omission.GONE),
        ({"id": None, "url_private": "", "url_private_download": None}, Omission.GONE),
    ],
)
def test_files_that_cannot_be_used(changes: dict[str, Any], omission: Omission) -> None:
    """Nothing is downloaded, and people see a name."""
    found = read(**changes)
    assert (found.omission, found.locator, bool(found.name)) == (omission, {}, True)


def test_a_file_of_another_workspace_is_asked_for() -> None:
    """With Slack Connect, the message contains a stub, and files.info the rest."""
    found = attachment({"id": "F1", "mode": "file_access", "file_access": "check_file_info"})
    assert (found.name, found.locator, found.omission) == ("", {"file": "F1"}, None)


@pytest.mark.parametrize("mode", ["space", "post", "quip", "canvas", "docs"])
def test_posts_and_canvases_are_pages(mode: str) -> None:
    """Slack serves them as HTML whatever their type; their size is not the page's."""
    found = read(mode=mode, mimetype="application/vnd.slack-docs")
    assert (found.name, found.media_type) == ("Third quarter", "text/html")
    assert (found.locator["type"], "size" in found.locator) == ("text/html", False)


def test_an_email_has_its_text() -> None:
    (found,) = attachments(SHOWN["email"]["message"])
    assert (found.name, found.media_type) == ("Hello", "text/plain")
    data = b"Subject: Hello\nFrom: Ann <ann@example.com>\n\nPlease call me."
    assert (found.data, found.size) == (data, len(data))
    assert read(mode="email", plain_text=" ").data is None  # its page is downloaded


def test_speech_with_a_transcript() -> None:
    (found,) = attachments(SHOWN["voice_message"]["message"])
    assert found.transcript == "could you summarise the last week"
    assert (found.is_voice, found.media_type) == (True, "audio/mp4")


def test_recorded_audio_is_audio() -> None:
    """Slack calls it a video."""
    found = read(**AUDIO)
    assert (found.media_type, found.is_voice) == ("audio/mp4", True)
    clip = read(mimetype="video/mp4", subtype="slack_video", transcription=spoken("complete", "a"))
    assert (clip.media_type, clip.is_voice, clip.transcript) == ("video/mp4", True, "a")


@pytest.mark.parametrize(
    ("transcription", "hints"),
    [
        (None, {"speech"}),
        (spoken("processing"), {"speech"}),
        (spoken("none"), set()),
        (spoken("failed"), set()),
        (spoken("complete", "the beginning", more=True), {"vtt"}),
        (spoken("complete", "all"), {"vtt"}),
    ],
)
def test_where_a_transcript_may_be_found(transcription: Any, hints: set[str]) -> None:
    found = read(**AUDIO, transcription=transcription, vtt=f"{URL}/file.vtt")
    assert set(found.locator) & {"speech", "vtt"} == hints
    assert found.transcript == ("all" if transcription == spoken("complete", "all") else "")


def test_an_uploaded_recording_is_no_voice_message() -> None:
    found = read(name="song.mp3", mimetype="audio/mpeg")
    assert (found.is_voice, "speech" in found.locator) == (False, False)


@pytest.mark.parametrize(
    ("changes", "text", "is_paste"),
    [
        ({"title": "Untitled", "name": "Untitled"}, "", True),
        ({"title": "", "name": "-.txt"}, "<@U0BOT00001>", True),
        ({"title": "Untitled"}, "what is this?", False),
        ({"title": "run.py", "name": "run.py"}, "", False),
        ({"title": "Untitled", "mode": "hosted"}, "", False),
    ],
)
def test_only_an_untitled_snippet_alone_is_a_paste(
    changes: dict[str, Any], text: str, is_paste: bool
) -> None:
    event: dict[str, Any] = {"type": "message", "channel": "D0ALICE001", "ts": "2.000001"}
    event |= {"user": "U0ALICE001"}
    event |= {"text": text, "files": [HOSTED | {"mode": "snippet"} | changes]}
    incoming = read_event({"event": event}, ME, {})
    assert incoming is not None
    assert [one.is_paste for one in incoming.attachments] == [is_paste]
    event["files"] = [*event["files"], HOSTED | {"id": "F2"}]
    incoming = read_event({"event": event}, ME, {})
    assert incoming is not None
    assert not any(one.is_paste for one in incoming.attachments)


def test_forwarded_files_are_attachments_once() -> None:
    forward = {"is_share": True, "files": [HOSTED, HOSTED | {"id": "F2"}]}
    message = {"files": [HOSTED, {"id": "F3", "mode": "tombstone"}], "attachments": [forward]}
    assert [one.identity for one in attachments(message)] == ["F1", "F2"]


def test_a_name_is_shown_on_one_line_and_keeps_its_ending() -> None:
    assert read(name="../../a\nb\u202e.pdf").name == "../../a b .pdf"
    assert read(name=f"{'x' * 200}.pdf").name.endswith(".pdf")


def test_lost_files() -> None:
    assert lost_files([HOSTED, {"id": "F2"}, {}], [HOSTED]) == {"F2"}
    assert lost_files([HOSTED], [HOSTED, {"id": "F2"}]) == set()


def test_no_mutated_file_raises() -> None:
    """Whatever a field contains, the file is reported, and everything can be stored."""
    full = HOSTED | AUDIO | {"vtt": URL, "transcription": spoken("complete", "x", more=True)}
    full |= {"plain_text": "x", "from": [{"original": "a"}], "subject": "s", "alt_txt": "a"}
    tried = 0
    for mode in ("hosted", "email", "snippet", "quip"):
        for mutation in mutations({"text": "", "files": [full | {"mode": mode}]}):
            if not isinstance(mutation.payload, dict):
                continue
            for found in attachments(mutation.payload, has_text=False):
                assert isinstance(found.name, str), mutation.path
                assert found.omission or found.data or found.locator, mutation.path
                json.dumps([found.locator, found.size, found.transcript]).encode()
            tried += 1
    print(f"{tried} mutations")
    assert tried > 500


VTT = """WEBVTT

NOTE a remark
of two lines

1
00:00:00.000 --> 00:00:02.000 align:start
<v Alice>Could you <i>summarize</i>

00:00:02.000 --> 00:00:04.000
the last week?
It was long.
"""


def test_the_words_of_a_vtt_file() -> None:
    words = "Could you summarize the last week? It was long."
    assert vtt_text(VTT.encode()) == words
    assert vtt_text(b"\xef\xbb\xbf" + VTT.replace("\n", "\r\n").encode()) == words
    assert vtt_text(b"\xff\x00 nothing") == ""
