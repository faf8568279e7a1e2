"""The API compared with its OpenAPI description: every check of Schemathesis, and chains of calls.

`SCHEMATHESIS_SEED` repeats a run; `make soak` makes many more requests.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.engine import from_schema
from schemathesis.engine.events import EngineFinished, FatalError, NonFatalError, ScenarioFinished
from schemathesis.engine.recorder import ScenarioRecorder

from bot.domain import http_texts
from tests.support.web_kit import HTTP_TOKENS, TOKENS, in_thread

SEED = int(os.environ.get("SCHEMATHESIS_SEED", "20261121"))
OPERATIONS = 15
REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429", "5xx"]
# Rules that JSON Schema cannot express: lists of equal length, the grammars of templates and data
# URLs, either a text or a file, files that are really files. Requests that break one are refused
# although the schema allows them, and the refusal names the rule.
RULES = {
    "unequal_lists",
    "template",
    "data_url",
    "nothing_said",
    "not_a_file",
    "form_invalid",
    "zone",
    "not_a_question",
    "not_an_answer",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("site")
    environ = {
        "HTTP_TOKENS": HTTP_TOKENS,
        "ADMINS": "web:alice",
        "MODELS": "openai:sim,openai:sim-2",
    }
    with in_thread(folder, environ) as url:
        yield url


def findings(address: str, *, examples: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Schemathesis's findings, and the number of requests in each phase."""
    config = schemathesis.Config.from_dict(
        {
            "headers": {"Authorization": f"Bearer {TOKENS['alice']}"},
            "seed": seed,
            "generation": {"max-examples": examples, "database": "none"},
            "suppress-health-check": ["all"],
            # A wrong body that is also too long is refused for its length.
            "checks": {"negative_data_rejection": {"expected-statuses": REFUSALS}},
        }
    )
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json", config=config, timeout=60)
    found: list[str] = []
    requests: Counter[str] = Counter()
    for event in from_schema(schema).execute():
        if isinstance(event, ScenarioFinished):
            requests[event.phase.value] += len(event.recorder.interactions)
            found += failures(event.recorder)
        elif isinstance(event, NonFatalError):
            found.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, FatalError):
            raise event.exception
        elif isinstance(event, EngineFinished):
            assert event.stop_reason.value == "completed"
    return found, requests


def failures(recorder: ScenarioRecorder) -> Iterator[str]:
    """A scenario's failed checks, each with its message and the command to repeat it."""
    for case, checks in recorder.checks.items():
        for check in checks:
            info = check.failure_info
            if (
                info is not None
                and not refused_by_a_rule(check.name, recorder, case)
                and not sent_as_a_form(check.name, recorder, case)
                and not asked_after_deletion(check.name, recorder, case)
            ):
                yield f"{recorder.label}: {check.name}: {info.failure}\n{info.code_sample}"


def refused_by_a_rule(check: str, recorder: ScenarioRecorder, case: str) -> bool:
    response = recorder.find_response(case_id=case)
    if check != "positive_data_acceptance" or response is None or response.status_code != 422:
        return False
    problems = response.json()["detail"]
    return all(problem["type"] in RULES or problem == no_such_model() for problem in problems)


def no_such_model() -> dict[str, Any]:
    """Models change while the server runs, so their names are in no schema."""
    sentence = http_texts.model_not_offered(["openai:sim", "openai:sim-2"])
    return {"loc": ["body", "model"], "msg": sentence, "type": "value_error"}


def sent_as_a_form(check: str, recorder: ScenarioRecorder, case: str) -> bool:
    """Whether a value of the wrong type was sent in a form, where every value is text or absent."""
    if check != "negative_data_rejection":
        return False
    headers = recorder.interactions[case].request.headers
    return any(
        "multipart/form-data" in value
        for name, values in headers.items()
        if name.lower() == "content-type"
        for value in values
    )


def asked_after_deletion(check: str, recorder: ScenarioRecorder, case: str) -> bool:
    """Whether a question came after the deletion of its conversation.

    Schemathesis recognizes deletions only by paths with a common prefix, which
    /conversation/completion/ID and /conversation/ID lack.
    """
    if check != "ensure_resource_availability":
        return False
    uid = recorder.interactions[case].request.uri.rpartition("/")[2]
    return any(
        interaction.request.method == "DELETE"
        and interaction.request.uri.endswith(f"/conversation/{uid}")
        and interaction.response is not None
        and interaction.response.status_code == 204
        for interaction in recorder.interactions.values()
    )


def require_nothing_found(address: str, *, examples: int, seed: int) -> None:
    print(f"SCHEMATHESIS_SEED={seed}")
    found, requests = findings(address, examples=examples, seed=seed)
    print(dict(requests))
    assert not found, "\n\n".join(found)
    assert all(requests[phase] > OPERATIONS for phase in ("coverage", "fuzzing", "stateful")), (
        requests
    )


@pytest.mark.timeout(300)  # on a busy machine
def test_every_response_matches_the_description(address: str) -> None:
    """Valid and invalid bodies, missing tokens, wrong methods, and chains of calls."""
    require_nothing_found(address, examples=8, seed=SEED)


@pytest.mark.soak
def test_responses_to_many_requests_match_the_description(address: str) -> None:
    seed = int(os.environ.get("SCHEMATHESIS_SEED", random.randrange(2**32)))
    require_nothing_found(address, examples=400, seed=seed)


def test_an_undescribed_response_is_reported(address: str) -> None:
    """The exemption for refusals hides nothing: an undescribed response is still reported."""
    config = schemathesis.Config.from_dict({"seed": SEED})
    raw: Any = schemathesis.openapi.from_url(
        f"{address}/openapi.json", config=config, timeout=60
    ).raw_schema
    del raw["paths"]["/conversation"]["get"]["responses"]["401"]
    only = {"/conversation": {"get": raw["paths"]["/conversation"]["get"]}}
    schema = schemathesis.openapi.from_dict({**raw, "paths": only}, config=config)
    schema.config.update(base_url=address)
    found = [
        finding
        for event in from_schema(schema).execute()
        if isinstance(event, ScenarioFinished)
        for finding in failures(event.recorder)
    ]
    assert any("status_code_conformance" in finding for finding in found), found
