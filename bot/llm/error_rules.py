"""Rules that recognize a provider's error by its status, codes and wording.

Providers use different statuses and codes for the same failure. The first matching rule wins; if
none matches, the status decides (`bot.llm.errors`). Add new wordings with the provider's name;
those for images are in `bot.llm.image_rules`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    ImageRefused,
    KeyRefused,
    ModelError,
    ModelLoading,
    NoCredit,
    Overloaded,
    RateLimited,
    UnknownModel,
    WrongAddress,
)
from bot.llm.error_report import ErrorReport
from bot.llm.image_rules import CANNOT_SEE, REFUSED, REFUSED_CODES


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.DOTALL)


_ANYTHING = _any_of("")
_NOTHING = _any_of(r"(?!)")


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """Recognizes one kind of error. If `statuses` is None, any status matches.

    The status None in `statuses` stands for an error inside a stream.
    """

    error: type[ModelError]
    statuses: frozenset[int | None] | None
    codes: frozenset[str]
    wording: re.Pattern[str]

    def matches(self, report: ErrorReport) -> bool:
        """Whether the report describes this error. The wording of a web page is ignored."""
        if self.statuses is not None and report.status not in self.statuses:
            return False
        if not self.codes.isdisjoint(report.codes):
            return True
        text = "" if report.is_web_page else f"{' '.join(report.codes)} · {report.text}"
        return self.wording.search(text) is not None


# Statuses of an invalid request, or of a server that failed on it.
_REQUEST: frozenset[int | None] = frozenset({None, 400, 403, 409, 413, 422, 424, 451, 500})

RULES: tuple[ErrorRule, ...] = (
    # No credit: waiting does not help; the operator must check the account.
    ErrorRule(NoCredit, frozenset({402}), frozenset(), _ANYTHING),
    ErrorRule(
        NoCredit,
        frozenset({None, 400, 401, 403, 412, 422, 429, 500, 503}),
        frozenset(
            {
                "insufficient_quota",  # OpenAI, Moonshot, Perplexity
                "billing_hard_limit_reached",
                "billing_not_active",
                "budget_exceeded",  # LiteLLM
                "arrearage",  # Alibaba
                "exceeded_current_quota_error",  # Moonshot
                "insufficient_balance",
                "insufficient_credits",
                "credits_exhausted",
                "payment_required",
                "billing_error",  # Anthropic
                "contract_spend_limit_reached",
                "enforced_spend_limit_reached",
            }
        ),
        _any_of(
            r"insufficient (balance|credits?|funds)",  # DeepSeek, Moonshot, OpenRouter
            r"credit balance is too low|reached your specified api usage limits",  # Anthropic
            r"budget[ _]?(has been )?exceeded|exceeded[ _]?budget",  # LiteLLM
            r"(used|exhausted|spent) (up )?all (your |of your )?(available |monthly )?credits",
            r"(out of|no (more )?|not enough|requires more) credits",
            r"spend(ing)? (limit|cap)",  # xAI, Fireworks, Groq
            r"account is (not )?in (good standing|arrears)|overdue[ -]payment",  # Alibaba
            r"make sure your account is in good standing|余额不足|欠费",  # Alibaba, Zhipu
        ),
    ),
    # A filter rejected the content: the request's fault, so the model stays available to others.
    ErrorRule(
        ContentRefused,
        _REQUEST,
        frozenset(
            {
                "content_filter",
                "content_policy_violation",
                "image_content_policy_violation",
                "contentpolicyviolationerror",
                "responsibleaipolicyviolation",  # Azure
                "data_inspection_failed",  # Alibaba
                "datainspectionfailed",
                "moderation_blocked",
                "content_moderation",
                "invalid_prompt",  # OpenAI's reasoning models
                "bio_policy",  # the Responses API: openai 3.52, response_error.py
                "misalignment_policy_violation",
                "1301",  # Zhipu
            }
        ),
        _any_of(
            r"content[ _](management )?(filter|policy)",
            r"contentpolicyviolation",  # LiteLLM
            r"safety system",
            r"content exists risk",  # DeepSeek
            r"requires moderation|\bflagged\b",  # OpenRouter, OpenAI
            r"inappropriate content|sensitive (content|information|words)",  # Alibaba, Zhipu
            r"considered high risk",  # Moonshot
            r"usage (guidelines|polic(y|ies))|safety_check_type",  # xAI, OpenAI
            r"(prohibited|harmful|unsafe|disallowed) (content|use)|prohibited_content",
            r"new_sensitive|blocked by .{0,30}(safety|moderat|filter|polic)",  # MiniMax, others
            r"guardrail|content moderation|moderation (policy|filter|system)",  # Bedrock, others
            r"violat\w+ .{0,60}polic(y|ies)",
            r"(blocked|rejected|refused) (due to|because of|for|by) .{0,40}(safety|moderat|policy)",
            r"\b(nsfw|profanity)\b|(disallowed|inappropriate|offensive|forbidden) "
            r"(material|language|input|prompt)|blocked:.{0,40}\bpii\b",
            r"敏感|违规|不安全|(内容|输入|输出|文本).{0,10}审核",
            r"コンテンツ.?ポリシー|不適切|콘텐츠 정책|부적절|inhaltsrichtlinie",
            r"politique de contenu|pol[ií]tica de (contenido|conteúdo|uso)",
            r"правил\w* использования|политик\w* (контента|использования)",
        ),
    ),
    # The server is up but has not loaded the model yet.
    ErrorRule(
        ModelLoading,
        frozenset({None, 409, 425, 429, 500, 503}),
        frozenset({"model_loading", "model_not_ready"}),
        _any_of(
            r"(?<!error )(?<!failed )(?<!while )\bloading (the )?model",  # llama.cpp, Ollama
            r"\b(is|are) (currently |still |now )?(loading|being loaded|warming up|starting up"
            r"|initializing|booting)|scaled to zero|cold start",
            r"still loading|model (is )?not (yet )?(ready|loaded)",
        ),
    ),
    # Images: only for requests that have some (`bot.llm.errors.classify`).
    ErrorRule(CannotSee, _REQUEST | {404, 415, 501}, frozenset(), _any_of(*CANNOT_SEE)),
    ErrorRule(
        ImageRefused,  # the body is too large, and its images are by far the largest part
        frozenset({413}),
        frozenset(),
        _any_of(r"\A(?!.*(token|context))"),
    ),
    # The request exceeds the context window.
    ErrorRule(
        ContextTooLong,
        _REQUEST | {404, 503},
        frozenset(
            {
                "context_length_exceeded",
                "exceed_context_size_error",  # llama.cpp
                "string_above_max_length",
                "too_many_prompt_tokens",  # Perplexity
                "tokens_limit_reached",  # Azure's model catalog
                "contextwindowexceedederror",  # LiteLLM
                "context_window_exceeded",
                "model_max_prompt_tokens_exceeded",
                "request_too_large",  # Anthropic
                "input_too_long",
                "1261",  # Zhipu
            }
        ),
        _any_of(
            r"context[ _-]?(length|size|window|limit)|contextwindowexceeded",
            r"inputs` (tokens|must have less than)",  # TGI, Together
            r"max_tokens\W{0,2} must be (at least|greater than) \d+, got -",  # vLLM: no room left
            r"(prompt|input|request|message)s? (is|are|was) too (long|large)|prompt too long",
            r"input token count",  # Gemini
            r"request too large|reduce the length|reduce your prompt",
            r"too many (\w+ )?tokens",  # Cohere, Perplexity
            r"(input|prompt)[ _]tokens? (count )?exceed",  # Bedrock
            r"exceeded model token limit",  # Moonshot
            r"range of input length",  # Alibaba
            r"maximum (prompt|input|sequence) length",  # xAI
            r"(exceeds?|exceeded|longer than|larger than|over) (the )?(model'?s? )?(max\w*|allowed)"
            r"( allowed)? (number of )?(input |prompt |context |model |sequence )?(tokens?|length)",
            r"(token|message|input|prompt|text) (length|size|count( of \d+)?)"
            r" (\d+ )?(exceed|is greater|over)",
            r"exceeds? max (\w+ )?tokens|max input (characters|tokens)",  # Volcengine, Baidu
            r"(token|length) limit (was |is )?exceeded|max(imum)? tokens? (of \d+ )?exceeded",
            r"\b(prompt|input|sequence|total|length|(?<!max_)(?<!completion_)tokens?)\b[^<>]{0,40}"
            r"(?<!\d)\d{3,9} ?(>|>=|≥) ?[^<>\d]{0,20}\d{3,9}",
            r"(has|have|contains?) \d+ tokens?\b.{0,40}(maximum|limit|only|at most)",
            r"longer than the (maximum|limit)|must be shorter than \d+ tokens",
            r"max_(seq_len|sequence_length|prefill_tokens|model_len|input_length)|\bn_ctx\b",
            r"(conversation|chat|history|payload|body) (is |was )?too (long|large|big)",
            r"payload size exceed|reduce the number of messages",
            r"超长|超过.{0,20}(长度|上限)|超出.{0,20}(长度|上限)|トークン.{0,10}(上限|超)",
        ),
    ),
    ErrorRule(ImageRefused, _REQUEST | {415, 501}, REFUSED_CODES, _any_of(*REFUSED)),
    ErrorRule(
        ContextTooLong,  # one request alone exceeds the rate limit: waiting would not help
        frozenset({429}),
        frozenset({"context_length_exceeded"}),
        _any_of(r"request too large|context[ _-]?(length|window)|reduce the length"),
    ),
    ErrorRule(
        KeyRefused,
        frozenset({None, 400, 403, 404, 422, 500}),
        frozenset(
            {
                "invalid_api_key",
                "api_key_invalid",  # Gemini
                "invalidapikey",  # Alibaba
                "authentication_error",
                "permission_error",  # Anthropic
                "authenticationerror",
                "unauthenticated",
                "unauthorized",
                "expired_api_key",
            }
        ),
        _any_of(
            r"api[ _-]?key (is )?(not valid|invalid|expired|not found|missing|incorrect|malformed)",
            r"(invalid|incorrect|wrong|missing|no|expired) api[ _-]?key",
            r"pass a valid api key|authenticationerror|no auth credentials",
            r"location is not supported|country, region, or territory",  # Gemini, OpenAI
            r"invalid (authentication|authorization|credentials|bearer token)",
        ),
    ),
    ErrorRule(
        UnknownModel,
        _REQUEST | {404, 410},
        frozenset(
            {
                "model_not_found",
                "model_not_supported",
                "model_not_available",
                "model_decommissioned",  # Groq
                "deploymentnotfound",  # Azure
                "modelnotfound",
                "unknown_model",
                "invalid_model",
                "invalid_model_error",
            }
        ),
        _any_of(
            r"model\b.{0,200}\b(does not exist|not found)",
            r"(do(es)? not|don't) have access .{0,60}model",  # Bedrock
            r"(unknown|invalid|unsupported|no such) model|not a valid model|model_id is invalid",
            r"no endpoints found|no (healthy )?deployments? (available|found)",  # OpenRouter
            r"model\b.{0,80}\b(is|was|has been) (deprecated|decommissioned|retired|no longer)"
            r"(?! (supported )?(for|by|with|in) this model)",  # a parameter of it: Bedrock
            r"model\b.{0,80}\b(not (supported by|deployed)|unavailable in your region)",
            r"(model|模型).{0,10}(不存在|not exist)",
        ),
    ),
    ErrorRule(
        Overloaded,
        None,
        frozenset(
            {
                "overloaded",
                "overloaded_error",
                "engine_overloaded_error",  # Moonshot
                "server_error",
                "internal_server_error",
                "insufficient_system_resource",  # DeepSeek
                "service_unavailable",
                "serviceunavailable",
            }
        ),
        _any_of(
            r"overloaded|(no|at|over|insufficient) capacity|capacity exceeded",
            r"server (is )?(too )?busy|temporarily unavailable|queue is full",
        ),
    ),
    ErrorRule(  # Anthropic, in a stream
        Overloaded, frozenset({None}), frozenset({"api_error", "timeout_error"}), _NOTHING
    ),
    ErrorRule(RateLimited, frozenset({429}), frozenset(), _ANYTHING),
    ErrorRule(
        RateLimited,
        frozenset({None, 400, 403, 500, 503}),
        frozenset(
            {
                "rate_limit_exceeded",
                "rate_limit_error",
                "rate_limited",
                "throttlingexception",  # Bedrock
                "throttling",
                "throttling.ratequota",  # Alibaba
                "resource_exhausted",  # Gemini
                "ratelimiterror",
            }
        ),
        _any_of(r"rate[ _-]?limit|too many requests|throttl|requests per (second|minute|day)"),
    ),
    # An unknown path: the base address is wrong, usually because /v1 is missing.
    ErrorRule(WrongAddress, frozenset({405}), frozenset(), _ANYTHING),
    ErrorRule(
        WrongAddress,
        frozenset({404}),
        frozenset(),
        _any_of(
            r"^\W*(404\W*)?((page|file|route|path|resource|endpoint) )?not found\W*$",
            r"(^|\W)(404 page|file|route|resource) not found\W*$",  # Ollama, llama.cpp, Azure
            r"not_found_error · not found\W*$",  # Anthropic
            r"invalid url|unknown (request )?(url|path|route|endpoint)|cannot post /",
            r"unexpected endpoint|no static resource|no (matching )?route|not_found_error file",
        ),
    ),
)
