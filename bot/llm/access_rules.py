"""Rules for what an account may not use: no credit, a refused key, a model that it does not have.

See `bot.llm.error_rules`. Add new wordings with the provider's name.
"""

from __future__ import annotations

from bot.domain.errors import KeyRefused, NoCredit, UnknownModel
from bot.llm.error_rule import ANYTHING, REQUEST, ErrorRule, any_of

# Waiting does not help; the operator must check the account.
NO_CREDIT: tuple[ErrorRule, ...] = (
    ErrorRule(NoCredit, frozenset({402}), frozenset(), ANYTHING),
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
                "insufficient_user_quota",  # new-api
                "not_enough_balance",  # Novita
                "accountoverdueerror",  # Volcengine
                "allocationquota.freetieronly",  # Alibaba
                "failedoperation.resourcepackexhausted",  # Tencent
                "credits_exhausted",
                "payment_required",
                "billing_error",  # Anthropic
                "contract_spend_limit_reached",
                "enforced_spend_limit_reached",
            }
        ),
        any_of(
            # DeepSeek, Moonshot, OpenRouter, Volcengine, Venice, SiliconFlow
            r"(insufficient|not enough|overdue|negative) (\w+ (or \w+ )?)?(balance|credits?|funds)",
            r"balance is (insufficient|too low|negative)|paid balance required",
            r"credits? (is|are|has been|have been) (depleted|exhausted|used up)",  # Gemini
            r"(does not|doesn['’]t|do not|don['’]t) have any credits",  # xAI
            r"free tier of .{0,40}exhausted",  # Alibaba
            r"\bquota is not enough|额度.{0,4}(不足|用尽)",  # new-api
            # OpenRouter, GitHub, Ollama
            r"\bkey limit exceeded|\bbudget limit|requires a subscription",
            r"credit balance is too low|reached your specified api usage limits",  # Anthropic
            r"budget[ _]?(has been )?exceeded|exceeded[ _]?budget",  # LiteLLM
            r"(used|exhausted|spent) (up )?all (your |of your )?(available |monthly )?credits",
            r"(out of|no (more )?|requires more) credits",
            r"spend(ing)? (limit|cap)",  # xAI, Fireworks, Groq
            r"account is (not )?in (good standing|arrears)|overdue[ -]payment",  # Alibaba
            r"make sure your account is in good standing|余额不足|欠费",  # Alibaba, Zhipu
        ),
    ),
)

KEY_REFUSED = ErrorRule(
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
    any_of(
        r"api[ _-]?key (is )?(not valid|invalid|expired|not found|missing|incorrect|malformed)",
        r"(invalid|incorrect|wrong|missing|no|expired) api[ _-]?key",
        r"pass a valid api key|authenticationerror|no auth credentials",
        r"location is not supported|country, region, or territory",  # Gemini, OpenAI
        r"invalid (authentication|authorization|credentials|bearer token)",
        r"(organization|account|team|key)\b.{0,30} (been|is|was) "
        r"(restricted|disabled|suspended|deactivated|revoked)",  # Groq, Anthropic
        # MiniMax, Cloudflare, iFlytek
        r"login fail|invalid format for authorization header|noautherror",
    ),
)

UNKNOWN_MODEL: tuple[ErrorRule, ...] = (
    ErrorRule(
        UnknownModel,
        REQUEST | {404, 410},
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
                "model_terms_required",  # Groq
                "model_permission_blocked_org",
                "model_permission_blocked_project",
                "operationnotsupported",  # Azure: a model that does not chat
                "unavailable_model",  # GitHub
                "no_access",
            }
        ),
        any_of(
            r"model\b.{0,200}\b(does not exist|not found)",
            r"(do(es)? not|don't) have access .{0,60}model",  # Bedrock
            r"(unknown|invalid|unsupported|no such) model|not a valid model|model_id is invalid",
            r"no access to model|unavailable model|model disabled|endpoint is paused",
            r"on-demand throughput|plan not support model",  # Bedrock, MiniMax
            r"does not support chat\b(?! ?template)|not a chat model",  # Ollama, OpenAI
            r"no endpoints found|no (healthy )?deployments? (available|found)",  # OpenRouter
            r"model\b.{0,80}\b(is|was|has been) (deprecated|decommissioned|retired|no longer)"
            r"(?! (supported )?(for|by|with|in) this model)",  # a parameter of it: Bedrock
            r"model\b.{0,80}\b(not (supported by|deployed)|unavailable in your region)",
            r"(model|模型).{0,10}(不存在|not exist)",
        ),
    ),
    ErrorRule(  # new-api: no server behind the gateway has the model
        UnknownModel,
        frozenset({503}),
        frozenset({"model_not_found"}),
        any_of(r"no available channel for model|模型.{0,80}无可用渠道"),
    ),
)
