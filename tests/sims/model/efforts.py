"""Which models accept which effort, and who gets summaries; rejections in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.sims.model.error_responses import invalid_request


@dataclass(frozen=True, slots=True)
class EffortRules:
    """`plain` models do not reason; models in `values` accept only the listed efforts.

    `verified`: the organization gets summaries.
    """

    plain: Sequence[str] = ()
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    verified: bool = True

    def check(self, body: Mapping[str, Any]) -> None:
        """Raise ErrorResponse if the model does not take the request's effort or summary."""
        model, chosen = body["model"], self.chosen(body)
        for name, value in chosen.items():
            if model in self.plain:
                raise invalid_request(
                    f"Unsupported parameter: '{name}' is not supported with this model.",
                    param=name,
                    code="unsupported_parameter",
                )
            if name.endswith("effort") and value not in self.values.get(model, (value,)):
                known = ", ".join(f"'{each}'" for each in self.values[model])
                raise invalid_request(
                    f"Unsupported value: '{value}' is not supported with the '{model}' model."
                    f" Supported values are: {known}.",
                    param=name,
                    code="unsupported_value",
                )
        if "reasoning.summary" in chosen and not self.verified:
            raise invalid_request(
                "Your organization must be verified to generate reasoning summaries. Please go to:"
                " https://platform.openai.com/settings/organization/general and click on Verify"
                " Organization. If you just verified, it can take up to 15 minutes for access to"
                " propagate.",
                param="reasoning.summary",
                code="unsupported_value",
            )

    @staticmethod
    def chosen(body: Mapping[str, Any]) -> dict[str, Any]:
        """A request's reasoning settings, by parameter name."""
        chosen = {"reasoning_effort": body.get("reasoning_effort")}
        nested = body.get("reasoning") or {}
        chosen |= {f"reasoning.{name}": nested.get(name) for name in ("effort", "summary")}
        return {name: value for name, value in chosen.items() if value is not None}
