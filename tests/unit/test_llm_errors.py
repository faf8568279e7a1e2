"""Provider errors as worded in the wild, and the error of our tree for each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bot.domain.errors import (
    ContentRefused,
    ContextTooLong,
    CutOff,
    KeyRefused,
    ModelError,
    ModelFailed,
    NoCredit,
    Overloaded,
    RateLimited,
    UnknownModel,
    WrongAddress,
)
from bot.llm.error_report import ErrorReport
from bot.llm.errors import to_model_error, to_stream_error
from bot.llm.waits import retry_after


def openai(code: str | None, message: str = "words", kind: str = "some_error") -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


CASES: list[tuple[int | None, Any, type[ModelError]]] = [
    # by code
    (401, openai("invalid_api_key"), KeyRefused),
    (404, openai("model_not_found"), UnknownModel),
    (400, openai("model_not_found"), UnknownModel),
    (400, openai("model_not_supported"), UnknownModel),
    (400, openai("context_length_exceeded"), ContextTooLong),
    (400, openai("content_filter"), ContentRefused),
    (400, openai("content_policy_violation"), ContentRefused),
    (429, openai("rate_limit_exceeded"), RateLimited),
    (429, openai("insufficient_quota"), NoCredit),
    (None, openai("rate_limit_exceeded"), RateLimited),
    (None, openai(None, kind="server_error"), Overloaded),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, Overloaded),
    # by wording
    (400, openai(None, "This model's maximum context length is 4096 tokens."), ContextTooLong),
    (400, {"error": {"message": "the request exceeds the available context size"}}, ContextTooLong),
    (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096"}, ContextTooLong),
    (400, openai(None, "prompt is too long: 9000 tokens > 8000 maximum"), ContextTooLong),
    (400, openai(None, "The input token count (9) exceeds the maximum"), ContextTooLong),
    (429, openai("rate_limit_exceeded", "Request too large for m: Limit 10"), ContextTooLong),
    (400, {"detail": "Requested tokens exceed context window of 512"}, ContextTooLong),
    (400, {"error": {"code": 400, "type": "exceed_context_size_error"}}, ContextTooLong),
    (404, {"error": {"message": "model 'x' not found, try pulling it first"}}, UnknownModel),
    (400, {"error": {"message": "The model `x` does not exist."}}, UnknownModel),
    (429, {"error": "Model is overloaded", "error_type": "overloaded"}, Overloaded),
    (400, openai(None, "triggering Azure OpenAI's content management policy"), ContentRefused),
    # by status
    (401, "", KeyRefused),
    (402, {"error": "You have exceeded your monthly included credits."}, NoCredit),
    (403, {"error": "insufficient permissions"}, KeyRefused),
    (404, {"detail": "Not Found"}, WrongAddress),
    (408, None, Overloaded),
    (413, "", ContextTooLong),
    (429, {"error": "Rate limit reached"}, RateLimited),
    (500, "<html>", Overloaded),
    (502, "<html><h1>502 Bad Gateway</h1></html>", Overloaded),
    (503, {"error": "Service Unavailable"}, Overloaded),
    (504, "<html>", Overloaded),
    (400, openai(None), ModelFailed),
    (418, [], ModelFailed),
    (None, {"message": "gone", "code": 502}, Overloaded),
    # refused content, in other wordings and languages
    (400, openai(None, "The prompt was blocked due to safety"), ContentRefused),
    (400, openai(None, "Input was rejected by the moderation endpoint"), ContentRefused),
    (400, openai(None, "Your input contains disallowed material"), ContentRefused),
    (400, openai(None, "系统检测到输入内容审核未通过"), ContentRefused),
    (400, openai(None, "このリクエストはコンテンツポリシーに違反しています"), ContentRefused),
    (400, openai(None, "콘텐츠 정책을 위반하여 처리할 수 없습니다"), ContentRefused),
    (400, openai(None, "Die Anfrage verstößt gegen die Inhaltsrichtlinien"), ContentRefused),
    (400, openai(None, "Votre demande enfreint notre politique de contenu"), ContentRefused),
    (400, openai(None, "La solicitud infringe la política de contenido"), ContentRefused),
    (400, openai(None, "Запрос нарушает правила использования"), ContentRefused),
    # too long, in other wordings
    (400, openai(None, "Prompt has 9000 tokens, but the maximum is 8192"), ContextTooLong),
    (400, openai(None, "input length 9000 > 8192"), ContextTooLong),
    (400, openai(None, "prompt tokens 9000 > n_ctx 8192"), ContextTooLong),
    (400, openai(None, "max_seq_len 8192 exceeded"), ContextTooLong),
    (400, openai(None, "Conversation too long; please shorten it"), ContextTooLong),
    (400, openai(None, "The prompt must be shorter than 8192 tokens"), ContextTooLong),
    (400, openai(None, "输入长度超过模型上限"), ContextTooLong),
    (400, openai(None, "入力トークン数が上限を超えています"), ContextTooLong),
    (400, openai(None, "max_tokens: 9999 > 4096"), ModelFailed),
    # a rate of tokens, not a long request
    (400, openai(None, "Too many tokens, please wait before trying again."), RateLimited),
    (None, openai(None, "Too many tokens per day, please wait"), RateLimited),
    (None, openai(None, "Tokens per minute limit exceeded - too many tokens sent"), RateLimited),
    (None, openai(None, "request reached organization TPD rate limit"), RateLimited),
    (None, openai(None, "Request too large for m on tokens per minute (TPM)"), ContextTooLong),
    (400, openai(None, "too many tokens in the prompt"), ContextTooLong),
    # no credit, in other words
    (403, {"code": 30001, "message": "your account balance is insufficient"}, NoCredit),
    (403, {"reason": "NOT_ENOUGH_BALANCE", "message": "not enough balance"}, NoCredit),
    (429, openai(None, "Your prepayment credits are depleted."), NoCredit),
    (403, openai(None, "该令牌额度已用尽"), NoCredit),
    (403, openai(None, "this model requires a subscription, upgrade for access"), NoCredit),
    # a refused key
    (400, openai(None, "Organization has been restricted."), KeyRefused),
    (400, openai(None, "This organization has been disabled."), KeyRefused),
    (
        400,
        {
            "errors": [
                {
                    "message": "x",
                    "error_chain": [{"message": "Invalid format for Authorization header"}],
                }
            ]
        },
        KeyRefused,
    ),
    # a model that the account does not have, or that does not chat
    (400, openai("OperationNotSupported"), UnknownModel),
    (403, openai("no_access", "No access to model: m"), UnknownModel),
    (403, openai("model_permission_blocked_org"), UnknownModel),
    (
        400,
        {"message": "Invocation of model ID m with on-demand throughput isn't supported."},
        UnknownModel,
    ),
    (400, openai(None, '"nomic-embed-text" does not support chat'), UnknownModel),
    (400, {"error": "Bad Request: Endpoint is paused"}, UnknownModel),
    (410, {"error": "gone"}, UnknownModel),
    # a filter
    (451, {"error": "blocked"}, ContentRefused),
    (498, {"message": "blocked input: the request was blocked"}, ContentRefused),
    (446, openai(None, "The guardrail checks defined in the config failed."), ContentRefused),
    (None, openai("slow_down"), Overloaded),
    # servers that fail with the status of an invalid request
    (400, {"error": "The model has crashed without additional information."}, Overloaded),
    (400, {"detail": "Function id 'f': DEGRADED function cannot be invoked"}, Overloaded),
    # a wrong address
    (400, {"errors": [{"code": 7000, "message": "No route for that URI"}]}, WrongAddress),
    (400, openai(None, "temperature 5 > 2"), ModelFailed),
]


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_a_failure_is_classified_by_code_then_wording_then_status(
    status: int | None, body: Any, kind: type[ModelError]
) -> None:
    """The exact class matters: every class has a separate sentence for people."""
    error = to_model_error(ErrorReport.parse(status, body), model="openai:m")
    assert type(error) is kind
    assert error.model == "openai:m"


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_the_error_text_has_none_of_the_providers_words(
    status: int | None, body: Any, kind: type[ModelError]
) -> None:
    """It contains only the status and the codes."""
    words = ErrorReport.parse(status, body).text
    text = str(to_model_error(ErrorReport.parse(status, body), model="openai:m"))
    assert not words or words not in text


def test_an_unsupported_parameter_is_not_an_unknown_model() -> None:
    """The provider's message contains both "model" and "not supported"."""
    words = "Unsupported parameter: 'max_tokens' is not supported with this model."
    body = openai("unsupported_parameter", words)
    assert type(to_model_error(ErrorReport.parse(400, body), model="m")) is ModelFailed


def test_a_rate_limit_has_the_wait_of_the_header() -> None:
    report = ErrorReport.parse(429, openai("rate_limit_exceeded"), {"retry-after": "7"})
    error = to_model_error(report, model="m")
    assert isinstance(error, RateLimited) and error.retry_after == 7.0


def test_retry_after_is_parsed_in_every_format() -> None:
    """Milliseconds, seconds and HTTP dates. A time in the past means no wait, and nonsense is
    ignored."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "0.5"}) == 0.5
    assert 28 < (retry_after({"retry-after": soon}) or 0) <= 30
    assert retry_after({"retry-after": past}) == 0.0
    assert retry_after({"retry-after": "-3"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Too fast. Please try again in 6m0s. Visit our site.", 360.0),
        ("Please try again in 354ms.", 0.354),
        ("Please retry after 37 seconds. Please go here", 37.0),
        ("Please try again in 1 hour and 5 minutes.", 3_900.0),
        ("Please wait 43021 seconds before retrying.", 43_021.0),
        ("Please try again in 9 weeks", None),
        ("Please try again in 20", None),
        ("Please wait before trying again", None),
    ],
)
def test_the_wait_may_be_in_words(words: str, seconds: float | None) -> None:
    """A header is more exact, and other failures may repeat what a person wrote."""
    limited = openai("rate_limit_exceeded", words)
    error = to_model_error(ErrorReport.parse(429, limited), model="m")
    assert error.retry_after == (pytest.approx(seconds) if seconds else None)
    error = to_model_error(ErrorReport.parse(429, limited, {"Retry-After": "7"}), model="m")
    assert error.retry_after == 7.0
    rejected = to_model_error(ErrorReport.parse(400, openai("invalid_value", words)), model="m")
    assert type(rejected) is ModelFailed and rejected.retry_after is None


def test_only_a_used_up_limit_says_when_it_is_reset() -> None:
    """The value is a number of seconds, a duration or a point in time."""
    soon = datetime.now(UTC) + timedelta(seconds=50)
    for value in (
        "50",
        "50s",
        str(soon.timestamp()),
        str(soon.timestamp() * 1_000),
        soon.isoformat(),
    ):
        limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": value}
        report = ErrorReport.parse(429, openai(None), limits)
        assert 45 < (to_model_error(report, model="m").retry_after or 0) <= 50, value
    for limits in (
        {"x-ratelimit-remaining-tokens": "3", "x-ratelimit-reset-tokens": "50s"},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"},
        {"x-ratelimit-reset": "50"},
    ):
        report = ErrorReport.parse(429, openai(None), limits)
        assert to_model_error(report, model="m").retry_after is None


def test_absurd_numbers_in_an_error_are_ignored() -> None:
    """A failing server must not break the code that reads its failure."""
    for number in (10**400, "9" * 5_000, "²²²", -1, 1e999):
        report = ErrorReport.parse(None, {"error": {"code": number, "retry_after": number}})
        assert report.status is None and report.retry_after in (None, 0.0, 86_400.0)
    assert ErrorReport.parse(None, {"error": {"code": "503"}}).status == 503


def test_after_some_text_a_general_failure_is_a_cut_off_answer() -> None:
    """People then need to know that the answer is incomplete; a refusal stays a refusal."""
    server = ErrorReport.parse(None, openai(None, kind="server_error"))
    assert type(to_stream_error(server, model="m", started=False)) is Overloaded
    assert type(to_stream_error(server, model="m", started=True)) is CutOff
    filtered = ErrorReport.parse(None, openai("content_filter"))
    assert type(to_stream_error(filtered, model="m", started=True)) is ContentRefused
