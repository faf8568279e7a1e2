"""How providers word the rejection of a parameter, of streaming or of the system role.

Searched only in errors that reject a request (`bot.llm.server_quirks`). Add new wordings with the
provider's name; `tests/fixtures/providers/` has a response for each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NO_STREAM = re.compile(
    r"verified to stream|stream(ing)?['\"`]? (must be|is) (false|disabled|off)|non-streaming only"
    r"|only (supports?|accepts?|allows?) non-stream|set ['\"`]?stream['\"`]? to false"
    r"|\bstream(ing)?( mode)?\b(?!_).{0,40}\b(not|un)\s?"
    r"(supported|allowed|available|enabled|implemented)|(does not|doesn't|cannot) (support )?stream"
    r"|(unsupported|unknown|unrecognized|invalid) (value|parameter|argument)\w*:? ['\"`]?stream\b",
    re.IGNORECASE,
)
# Chat templates and servers without a system role: Gemma, Mistral, OpenAI's o1, Gemini's API for
# Gemma ("Developer instruction is not enabled").
NO_SYSTEM = re.compile(
    r"system['\"`]? ?(role|message|prompt|instruction)s?.{0,60}"
    r"(not|n't|un)\s?(be )?(support|allow|enabl|accept|permit|valid)"
    r"|roles?['\"`\]]?.{0,80}(not|n't|un)\s?(support|allow|accept|permit).{0,30}system"
    r"|(unexpected|unsupported|invalid|unknown|unrecognized) (message )?(role|value).{0,80}system"
    r"|(does|do)(n't| not) (support|accept|allow) (the |a )?['\"`]?system|variant ['\"`]?system"
    r"|role:? ['\"`]?system['\"`]?.{0,60}(not|n't|un)\s?(be )?(support|allow|accept|permit|valid)"
    r"|role:? ['\"`]?system['\"`]? (is )?invalid|\brole\b.{0,99}permitted: ['\"`]?user"
    r"|['\"`]system['\"`] is not one of|input should be ['\"`]user['\"`]"
    r"|first (message|content)\b.{0,40}\buser|template[ _]error|apply_chat_template"
    r"|only ['\"`]?user['\"`]?,? (and|or) ['\"`]?(assistant|model)|roles must alternate"
    r"|(must|should) (start|begin) with (a |the )?['\"`]?user|first message must be"
    r"|developer (instruction|message|role)s?.{0,40}not"
    r"|(chat|prompt)[ _-]?template.{0,200}(error|exception|fail|raise|unable)"
    r"|(error|exception|fail(?:ed|s|ure)?|unable).{0,80}(chat|prompt)[ _-]?template"
    r"|jinja|templateerror|raise_exception"
    r"|incompatible with system messages",  # Llama's vision models on Groq
    re.IGNORECASE | re.DOTALL,
)
TOO_LARGE = re.compile(
    r"too (large|big|high|long|many)|exceed|at most|less than|lower than|maximum|range|between|"
    r"\bmust be\b|greater than",
    re.IGNORECASE,
)

# A rejected value rather than a rejected parameter: another value may be accepted.
REJECTED_VALUE = re.compile(
    r"unsupported[ _]value|supported values|(must|should) be (one of|either|['\"`])|\bone of\b"
    r"|(invalid|unknown|unrecognized|disallowed) (enum )?(value|variant)|value_error|literal_error"
    r"|allowed values|permitted: |input should be|\bthink value\b"  # Ollama
    r"|\bvalue .{0,40}(not|n't|un)\s?(be )?(supported|allowed|valid)",
    re.IGNORECASE,
)

# How providers describe a parameter without naming it.
_EFFORT = re.compile(
    r"reasoning[_ .-]?effort"  # xAI: reasoningEffort
    r"|\bthink (level|value)\b|does not support (thinking|reasoning)"  # Ollama
    r"|\b(thinking|reasoning)([_ ](config|level|budget))?\b.{0,60}"  # Gemini
    r"(\bnot\b|n't\b|\bunsupp|\bonly\b|\binvalid\b)",
    re.IGNORECASE | re.DOTALL,
)
_SUMMARY = re.compile(
    r"reasoning[_ .-]?summar|\bsummar(y|ies)\b|['\"`]reasoning['\"`]", re.IGNORECASE
)
MENTIONS: Mapping[str, re.Pattern[str]] = {
    "reasoning_effort": _EFFORT,  # chat completions
    "reasoning.effort": _EFFORT,  # the Responses API
    "reasoning.summary": _SUMMARY,
    "output_config": re.compile(r"\beffort\b", re.IGNORECASE),  # Anthropic
}
