"""Rules that recognize a provider's error by its status, codes and wording.

Providers use different statuses and codes for the same failure. The first matching rule wins; if
none matches, the status decides (`bot.llm.errors`). Add new wordings with the provider's name;
those about an account are in `bot.llm.access_rules`, those for images in `bot.llm.image_rules`.
"""

from __future__ import annotations

from bot.domain.errors import (
    CannotSee,
    ContentRefused,
    ContextTooLong,
    ImageRefused,
    ModelLoading,
    Overloaded,
    RateLimited,
    WrongAddress,
)
from bot.llm.access_rules import KEY_REFUSED, NO_CREDIT, UNKNOWN_MODEL
from bot.llm.error_rule import ANYTHING, NOTHING, REQUEST, ErrorRule, any_of
from bot.llm.image_rules import CANNOT_SEE, REFUSED, REFUSED_CODES

RULES: tuple[ErrorRule, ...] = (
    *NO_CREDIT,
    # A filter rejected the content: the request's fault, so the model stays available to others.
    ErrorRule(
        ContentRefused,
        REQUEST | {446, 498},  # Portkey, Cohere
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
        any_of(
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
            r"(content|input|output) audit|blocked (input|output):",  # iFlytek, Cohere
            r"(content|message|input|output|prompt)s? (is|are) sensitive",  # Baidu
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
        any_of(
            r"(?<!error )(?<!failed )(?<!while )\bloading (the )?model",  # llama.cpp, Ollama
            r"\b(is|are) (currently |still |now )?(loading|being loaded|warming up|starting up"
            r"|initializing|booting)|scaled to zero|cold start",
            r"still loading|model (is )?not (yet )?(ready|loaded)",
        ),
    ),
    # Images: only for requests that have some (`bot.llm.errors.classify`).
    ErrorRule(CannotSee, REQUEST | {404, 415, 501}, frozenset(), any_of(*CANNOT_SEE)),
    ErrorRule(
        ImageRefused,  # the body is too large, and its images are by far the largest part
        frozenset({413}),
        frozenset(),
        any_of(r"\A(?!.*(token|context))"),
    ),
    # A rate of tokens, in words that otherwise mean a long request.
    ErrorRule(
        RateLimited,
        frozenset({None, 400, 403, 500, 503}),
        frozenset({"throttlingexception"}),
        any_of(
            r"too many tokens,? (please wait|processed)|too many tokens per",  # Bedrock, Cerebras
            r"(tokens? per (second|minute|hour|day|month)|daily|monthly|\b[tr]p[dm])"
            r"( (rate|token|usage))? limit",
        ),
    ),
    # The request exceeds the context window.
    ErrorRule(
        ContextTooLong,
        REQUEST | {404, 503},
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
        any_of(
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
    ErrorRule(ImageRefused, REQUEST | {415, 501}, REFUSED_CODES, any_of(*REFUSED)),
    ErrorRule(
        ContextTooLong,  # one request alone exceeds the rate limit: waiting would not help
        frozenset({429}),
        frozenset({"context_length_exceeded"}),
        any_of(r"request too large|context[ _-]?(length|window)|reduce the length"),
    ),
    KEY_REFUSED,
    *UNKNOWN_MODEL,
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
                "slow_down",  # OpenAI
                "serviceunavailable",
            }
        ),
        any_of(
            r"overloaded|(no|at|over|insufficient) capacity|capacity exceeded",
            r"server (is )?(too )?busy|temporarily unavailable|queue is full",
            r"model (has )?(crashed|unloaded)|channel error",  # LM Studio, with status 400
            r"degraded function",  # NVIDIA, with status 400
            r"访问量过大|负载.{0,6}(高|饱和)|系统繁忙",  # Zhipu, new-api
        ),
    ),
    ErrorRule(  # Anthropic, in a stream
        Overloaded, frozenset({None}), frozenset({"api_error", "timeout_error"}), NOTHING
    ),
    ErrorRule(RateLimited, frozenset({429}), frozenset(), ANYTHING),
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
        any_of(
            r"rate[ _-]?limit|too many requests|throttl|requests per (second|minute|day)",
            r"request limit reached|usage limit (reached|exceeded)",  # Baidu, MiniMax
            r"^\W*token limit\W*$|速率限制|并发数",  # MiniMax, Zhipu
        ),
    ),
    # An unknown path: the base address is wrong, usually because /v1 is missing.
    ErrorRule(
        WrongAddress,
        None,
        frozenset(),
        any_of(r"^\W*404 not_found\W*$|could not route to|no route for that uri"),  # Z.ai: a 200
    ),
    ErrorRule(WrongAddress, frozenset({405}), frozenset(), ANYTHING),
    ErrorRule(
        WrongAddress,
        frozenset({404}),
        frozenset(),
        any_of(
            r"^\W*(404\W*)?((page|file|route|path|resource|endpoint) )?not found\W*$",
            r"(^|\W)(404 page|file|route|resource) not found\W*$",  # Ollama, llama.cpp, Azure
            r"not_found_error · not found\W*$",  # Anthropic
            r"invalid url|unknown (request )?(url|path|route|endpoint)|cannot post /",
            r"unexpected endpoint|no static resource|no (matching )?route|not_found_error file",
        ),
    ),
)
